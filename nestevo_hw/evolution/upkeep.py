"""Upkeep of the teacher in force: when it was programmed, how it does, and when it is programmed again."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.dispatch import Dispatch, Results
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.refresh import Condition, Programming, chip_of, refresh_policy
from nestevo_hw.evolution.state import TeacherState
from nestevo_hw.evolution.steps import teachers
from nestevo_hw.evolution.teacher import DIGITAL, LabellingTime
from nestevo_hw.models.checkpoint import resolve_checkpoint


class Upkeep:
    """Owner of one group's teacher; everything in it follows from results of tasks, so a resumed run agrees.

    The clock is that of the windows (`WindowConfig.start_s`). A teacher ages from its programming on, over as many
    windows as it stays; programming it again, or a new one, starts its age anew.
    """

    def __init__(
        self,
        config: RunConfig,
        layout: RunLayout,
        journal: Journal,
        dispatch: Dispatch,
        generations: Iterator[int],
        *,
        group: str = "",
    ) -> None:
        """Start with the configured teacher.

        Args:
            config: of the run.
            layout: of its folder.
            journal: is told of programmings and refreshes.
            dispatch: runs tasks.
            generations: numbers of programmings, counted over all groups; each draws its own noise.
            group: of terminals that this teacher serves.
        """
        self._config = config
        self._layout = layout
        self._journal = journal
        self._dispatch = dispatch
        self._generations = generations
        self._group = group
        self._policy = refresh_policy(config.refresh)
        self._programmings = 0
        self._fresh_score = math.nan
        self._cost = Programming(time_s=0.0, energy_j=0.0, wear=0.0)
        self.labelling: LabellingTime | None = None
        """How long the crossbar takes to label, modelled; None for a digital teacher."""
        self.teacher = TeacherState(
            weights=resolve_checkpoint(config.teacher.model),
            crossbar=layout.crossbar(group),
            programmed_s=-config.teacher.age_s,
            generation=next(generations),
        )

    def at(self, window: int) -> dict[str, Any]:
        """Payload entries of the teacher in force as it labels the frames of a window."""
        return self.teacher.at(self._config.window.start_s(window))

    def programmed_first(self, value: Mapping[str, Any]) -> None:
        """Take over the first programming, the result of the task `prepare`."""
        self._tell(None, self.teacher, value, cause="first")
        self._take(self.teacher, value)

    def refresh(self, window: int) -> list[Results]:
        """Measure the teacher on in-domain frames, and program it again where the policy says so.

        Returns:
            Results of the tasks that the window's labels had to wait for.
        """
        if self._config.teacher.device == DIGITAL:
            return []
        payload = {**self.at(window), "reference": self._reference}
        measured = self._dispatch.run(teachers.inspect, window, {self._group: payload})
        if self._group not in measured:
            return []
        condition = self._condition(window, measured[self._group].value["score"])
        choice = self._policy.decide(condition)
        self._journal.event(
            "refresh",
            window=window,
            group=self._group,
            policy=self._config.refresh.policy,
            refreshed=choice.refresh,
            reason=choice.reason,
            generation=self.teacher.generation,
            age_s=condition.age_s,
            score=_or_none(condition.score),
            fresh_score=_or_none(condition.fresh_score),
        )
        if not choice.refresh:
            return [measured]
        again = self._next(window, self.teacher.weights, "refreshed.safetensors")
        payload = {**again.at(self._config.window.start_s(window)), "reference": self._reference}
        programmed = self._dispatch.run(teachers.program, window, {self._group: payload})
        if self._group in programmed:
            self._tell(window, again, programmed[self._group].value, cause="refresh")
            self._take(again, programmed[self._group].value)
        return [measured, programmed]

    def candidate(self, window: int) -> TeacherState:
        """A new teacher, to be programmed in this window."""
        weights = self._layout.of_group(window, self._group, "teacher.safetensors")
        return self._next(window, weights, "crossbar.safetensors")

    def judged(self, window: int, candidate: TeacherState, value: Mapping[str, Any]) -> None:
        """Take over a candidate that the guard accepted; `value` is the result of the task `merge`."""
        self._tell(window, candidate, value, cause="new teacher")
        if value["accepted"]:
            self._take(candidate, value)

    @property
    def _reference(self) -> str:
        return str(self._layout.reference(self._group))

    def _next(self, window: int, weights: Path, crossbar: str) -> TeacherState:
        return replace(
            self.teacher,
            weights=weights,
            crossbar=self._layout.of_group(window, self._group, crossbar),
            programmed_s=self._config.window.start_s(window) - self._config.teacher.delay_s,
            generation=next(self._generations),
        )

    def _condition(self, window: int, score: float | None) -> Condition:
        now_s = self._config.window.start_s(window)
        return Condition(
            age_s=now_s - self.teacher.programmed_s,
            score=math.nan if score is None else score,
            fresh_score=self._fresh_score,
            interval_s=self._config.window.interval_s,
            in_service_s=now_s + self._config.teacher.age_s,
            programmings=self._programmings,
            programming=self._cost,
        )

    def _take(self, teacher: TeacherState, value: Mapping[str, Any]) -> None:
        self.teacher = teacher
        self._fresh_score = math.nan if value.get("score") is None else value["score"]

    def _tell(self, window: int | None, teacher: TeacherState, value: Mapping[str, Any], *, cause: str) -> None:
        if "programming" not in value:
            return
        self._programmings += 1
        self._cost = Programming(**value["programming"])
        self.labelling = LabellingTime(**value["labelling"])
        start_s = self._config.window.start_s(window or 0)
        self._journal.event(
            "program",
            window=window,
            group=self._group,
            cause=cause,
            generation=teacher.generation,
            device=self._config.teacher.device,
            tile=self._config.teacher.tile,
            tiles=value["tiles"],
            weight_error=value["weight_error"],
            age_s=start_s - teacher.programmed_s,
            score=value.get("score"),
            chip=chip_of(self._config.refresh, self._config.teacher.device),
            **value["programming"],
        )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
