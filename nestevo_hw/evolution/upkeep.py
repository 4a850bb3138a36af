"""Upkeep of the teacher in force: when it was programmed, how it does, and when it is programmed again."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nestevo_hw.base.stats import or_nan
from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.dispatch import Dispatch, Stage
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.refresh import Condition, Programming, chip_of, refresh_policy
from nestevo_hw.evolution.state import TeacherState
from nestevo_hw.evolution.steps.table import INSPECT, PROGRAM
from nestevo_hw.evolution.steps.teachers import InspectRequest, MergeResult, ProgramRequest, ProgramResult
from nestevo_hw.evolution.teacher import LabellingTime, TeacherFiles
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.teacher import Program, Refresh


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
            journal: logs programmings and refreshes.
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
        self._scores: dict[int, float | None] = {}
        """Of the teacher in force on in-domain frames, by window in which it was measured."""
        self._cost = Programming(time_s=0.0, energy_j=0.0, wear=0.0)
        self.first_score: float | None = None
        """Of the first teacher on in-domain frames; None where that is not defined."""
        self.reference = layout.reference(group)
        """In-domain frames."""
        self.labelling: LabellingTime | None = None
        """How long the crossbar takes to label, modelled; None for a digital teacher."""
        self.teacher = TeacherState(
            weights=config.teacher.named,
            crossbar=layout.crossbar(group),
            programmed_s=-config.teacher.age_s,
            generation=next(generations),
        )

    def at(self, window: int) -> TeacherFiles:
        """The teacher in force as it labels the frames of a window."""
        return self.teacher.at(self._config.window.start_s(window))

    def adapted(self, adapters: Path) -> None:
        """Take over what was put beside the teacher for the scenes of a window, until the next one begins."""
        self.teacher = replace(self.teacher, adapters=adapters)

    def programmed_first(self, result: ProgramResult) -> None:
        """Take over the first programming."""
        self._log(None, self.teacher, result, cause="first")
        self._take(self.teacher, result)
        self.first_score = result.score

    def refresh(self, window: int) -> list[Stage]:
        """Begin a window: measure the teacher on in-domain frames, and program it again where the policy says so.

        What was put beside it for the scenes of an earlier window goes, as it fits those alone.

        Returns:
            What the window's labels had to wait for.
        """
        if self.teacher.adapters is not None:
            self.teacher = replace(self.teacher, adapters=None)
        if self._config.teacher.analog == DIGITAL:
            return []
        request = InspectRequest(teacher=self.at(window), reference=self.reference)
        measured = self._dispatch.run(INSPECT, window, {self._group: request})
        stages = [Stage(step=INSPECT, done=measured)]
        if self._group not in measured:
            return []
        score = self._scores[window] = measured[self._group].value.score
        condition = self._condition(window, or_nan(score))
        choice = self._policy.decide(condition)
        self._journal.log(
            Refresh(
                window=window,
                group=self._group,
                policy=self._config.refresh.policy,
                refreshed=choice.refresh,
                reason=choice.reason,
                generation=self.teacher.generation,
                age_s=condition.age_s,
                score=condition.score,
                fresh_score=condition.fresh_score,
            )
        )
        if not choice.refresh:
            return stages
        again = self._next(window, self.teacher.weights, "refreshed.safetensors")
        files = again.at(self._config.window.start_s(window))
        programming = ProgramRequest(teacher=files, generation=again.generation, reference=self.reference)
        programmed = self._dispatch.run(PROGRAM, window, {self._group: programming})
        if self._group in programmed:
            self._log(window, again, programmed[self._group].value, cause="refresh")
            self._take(again, programmed[self._group].value)
            self._scores[window] = programmed[self._group].value.score
        return [*stages, Stage(step=PROGRAM, done=programmed)]

    def score_in(self, window: int) -> float | None:
        """In-domain score of the teacher in force as it labels in a window; None where it has not been measured."""
        return self._scores.get(window)

    def candidate(self, window: int) -> TeacherState:
        """A new teacher, to be programmed in this window."""
        weights = self._layout.of_group(window, self._group, "teacher.safetensors")
        return self._next(window, weights, "crossbar.safetensors")

    def validated(self, window: int, candidate: TeacherState, result: MergeResult) -> None:
        """Take over a candidate that passed the validation gate."""
        self._log(window, candidate, result, cause="new teacher")
        if result.verdict.accepted:
            self._take(candidate, result)

    def _next(self, window: int, weights: Path, crossbar: str) -> TeacherState:
        return replace(
            self.teacher,
            weights=weights,
            crossbar=self._layout.of_group(window, self._group, crossbar),
            adapters=None,
            programmed_s=self._config.window.start_s(window) - self._config.teacher.delay_s,
            generation=next(self._generations),
        )

    def _condition(self, window: int, score: float) -> Condition:
        now_s = self._config.window.start_s(window)
        return Condition(
            age_s=now_s - self.teacher.programmed_s,
            score=score,
            fresh_score=self._fresh_score,
            interval_s=self._config.window.interval_s,
            in_service_s=now_s + self._config.teacher.age_s,
            programmings=self._programmings,
            programming=self._cost,
        )

    def _take(self, teacher: TeacherState, result: ProgramResult) -> None:
        self.teacher = teacher
        self._fresh_score = or_nan(result.score)

    def _log(self, window: int | None, teacher: TeacherState, result: ProgramResult, *, cause: str) -> None:
        written, preset = result.programmed, self._config.teacher.preset
        if written is None or preset is None:
            return
        self._programmings += 1
        self._cost = written.programming
        self.labelling = written.labelling
        self._journal.log(
            Program(
                window=SETUP if window is None else window,
                group=self._group,
                cause=cause,
                generation=teacher.generation,
                analog=preset.name,
                tile=self._config.teacher.tile,
                tiles=written.tiles,
                weight_error=or_nan(written.weight_error),
                age_s=self._config.window.start_s(window or 0) - teacher.programmed_s,
                score=or_nan(result.score),
                chip=chip_of(self._config.refresh, preset),
                time_s=written.programming.time_s,
                energy_j=written.programming.energy_j,
                wear=written.programming.wear,
                differences=written.differences,
            )
        )
