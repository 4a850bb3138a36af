"""The edge server during a run: which models are in force, and which teacher serves which terminals."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from nestevo_hw.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.steps import lessons, teachers
from nestevo_hw.evolution.teacher import LabellingTime
from nestevo_hw.evolution.upkeep import Upkeep
from nestevo_hw.models.checkpoint import resolve_checkpoint


class Server:
    """What outlasts a window; everything in it follows from results of tasks, so a resumed run agrees."""

    def __init__(
        self,
        config: RunConfig,
        layout: RunLayout,
        journal: Journal,
        costs: TaskCosts,
        groups: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.config = config
        self.layout = layout
        self.journal = journal
        self.dispatch = Dispatch(config, journal, costs)
        self.groups = groups
        """Terminals by group (eq. 3, 4); a single group is called ""."""
        self.group_of = {name: group for group, names in groups.items() for name in names}
        generations = count()
        self.upkeep = {g: Upkeep(config, layout, journal, self.dispatch, generations, group=g) for g in groups}
        self.models: dict[str, Path] = {t.name: resolve_checkpoint(t.model) for t in config.terminals}
        """Checkpoint that each terminal runs."""
        self.intermediates: dict[str, Path] = {
            name: self.upkeep[group].teacher.weights for name, group in self.group_of.items()
        }
        """Last state of each terminal's intermediate model."""
        self.gamma: dict[str, float] = {}
        """Threshold of eq. 12 by group."""
        self.drift: dict[str, float] = {}
        """Last drift score (eq. 11) of each terminal."""
        self.classes: list[str] = []
        self._costs = costs

    def prepare(self) -> None:
        """Program each group's teacher for the first time, and profile the training steps."""
        payloads = {
            group: {
                **self.upkeep[group].at(0),
                "reference": str(self.layout.reference(group)),
                "moments": str(self.layout.moments(group)),
            }
            for group in self.groups
        }
        prepared = self.dispatch.run(teachers.prepare, None, payloads)
        for group, result in prepared.items():
            self.gamma[group], self.classes = result.value["gamma"], result.value["classes"]
            self.upkeep[group].programmed_first(result.value)
        profiles = {name: {"model": str(path), **self.teacher_of(name, 0)} for name, path in self.models.items()}
        self._costs.learn(self.dispatch.run(lessons.profile, None, profiles))

    def teacher_of(self, name: str, window: int) -> dict[str, Any]:
        """Payload entries of the teacher that serves a terminal, as it labels the frames of a window."""
        return self.upkeep[self.group_of[name]].at(window)

    def labelling_of(self, name: str) -> LabellingTime | None:
        """How long the crossbar takes to label a terminal's frames, modelled; None for a digital teacher."""
        return self.upkeep[self.group_of[name]].labelling
