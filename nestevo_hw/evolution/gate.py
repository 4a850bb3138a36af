"""The validation gate: a new teacher that has lost too much on in-domain frames is not deployed.

It is compared with the one before it and with the first one, as small losses add up over windows.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from nestevo_hw.base.ranges import SHARE
from nestevo_hw.base.stats import or_nan
from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.teacher import CPU, TeacherConfig, TeacherFiles, open_teacher
from nestevo_hw.evolution.teaching import known_classes, teaching_of
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.predictions import pseudo_labels
from nestevo_hw.tasks.task import Teaching, VisionTask, headline

if TYPE_CHECKING:
    from nestevo_hw.evolution.config import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """What a new teacher may lose of the headline score on labelled in-domain frames."""

    margin: Annotated[float, SHARE] = 0.03
    """Against the teacher before it."""
    total_margin: Annotated[float, SHARE] = 0.03
    """Against the first teacher, over all windows together."""

    @property
    def kept(self) -> str:
        """Why a teacher was accepted."""
        return f"within the margins of {self.margin:g} and {self.total_margin:g} in total"

    def exceeded(self, *, first: float, before: float, after: float) -> str:
        """Which margin a new teacher exceeds; empty if it keeps both. A score that is NaN exceeds none."""
        if after < before - self.margin:
            return f"beyond the margin of {self.margin:g}"
        if after < first - self.total_margin:
            return f"beyond the total margin of {self.total_margin:g}"
        return ""


PARTS = 4
"""Of every four in-domain frames one sets BatchNorm statistics, one is scored, two may be replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the validation gate decided."""

    accepted: bool
    gate_before: float | None
    """In-domain score of the old teacher on the crossbar; None without labels on in-domain frames."""
    gate_after: float | None
    """The same of the new one."""
    gate_first: float | None
    """The same of the first one, as it was at its first label."""
    reason: str


def replay_part(reference: FrameBatch) -> FrameBatch:
    """In-domain frames to learn from; the validation gate never sees them."""
    return reference.part([i for i in range(len(reference)) if i % PARTS >= 2])


def _described_by(reference: FrameBatch) -> range:
    """In-domain frames that give a scene's BatchNorm statistics where teachers are measured with these."""
    return range(0, len(reference), PARTS)


def _measured_on(reference: FrameBatch) -> range:
    return range(1, len(reference), PARTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationGate:
    """Measures teachers on in-domain frames that nobody has learned from.

    Of digits, of which there are few, replay has shown the same ones in other renderings.
    """

    task: VisionTask
    teaching: Teaching
    """The verbs for the teachers."""
    classes: int
    """That they know."""
    teacher: TeacherConfig
    scene_norm: bool
    """Whether teachers are measured with the frames' BatchNorm statistics, as they label."""
    confident: float
    """Score from which on the digital twin's detections stand in for labels that are missing."""
    margins: GateConfig
    device: torch.device = CPU
    """Where they compute."""

    @classmethod
    def of(cls, config: "RunConfig", device: torch.device = CPU) -> "ValidationGate":
        """The gate of a run."""
        return cls(
            task=task_named(config.task),
            teaching=teaching_of(config),
            classes=len(known_classes(config)),
            teacher=config.teacher,
            scene_norm=config.scene_norm,
            confident=config.labels.high_confidence,
            margins=config.gate,
            device=device,
        )

    def compare(
        self, old: TeacherFiles, new: TeacherFiles, reference: FrameBatch, *, first: float | None, known: float | None
    ) -> Verdict:
        """Score both teachers on the crossbar, on in-domain frames neither has learned from.

        Args:
            old: the teacher in force.
            new: the one that is to replace it.
            reference: in-domain frames.
            first: score of the first teacher on them; None where that is not defined.
            known: score of the old teacher on them, if it has been measured at this age.
        """
        if reference.truth is None:
            reason = "not validated: no labelled in-domain frames"
            return Verdict(accepted=True, gate_before=None, gate_after=None, gate_first=None, reason=reason)
        before = self.score(old, reference) if known is None else known
        after = self.score(new, reference)
        reason = self.margins.exceeded(first=or_nan(first), before=before, after=after)
        return Verdict(
            accepted=not reason,
            gate_before=before,
            gate_after=after,
            gate_first=first,
            reason=reason or self.margins.kept,
        )

    def score(self, files: TeacherFiles, reference: FrameBatch) -> float:
        """In-domain headline score of a teacher at its age, with the scene's BatchNorm where it labels with it.

        Without labels, against what its digital twin detects: how far the crossbar has led it astray.

        Returns:
            0 to 1; NaN where there is no object to find.
        """
        held_out = reference.part(_measured_on(reference))
        scene = reference.part(_described_by(reference)).images if self.scene_norm else None
        teacher = open_teacher(self.teaching, self.teacher, files, scene, device=self.device)
        predictions = self.teaching.predict(teacher, held_out.images)
        truth = held_out.truth or self._twin_truth(files, scene, held_out)
        return headline(self.task.score(predictions, truth, self.classes))

    def passes(self, reference: FrameBatch) -> int:
        """Frames that go through a teacher to score it."""
        return len(_measured_on(reference)) + self.scene_norm * len(_described_by(reference))

    def _twin_truth(self, files: TeacherFiles, scene: Tensor | None, frames: FrameBatch) -> tuple[Annotation, ...]:
        """What the digital weights detect with enough confidence to label it."""
        twin = open_teacher(self.teaching, replace(self.teacher, analog=DIGITAL), files, scene, device=self.device)
        found = self.teaching.predict(twin, frames.images)
        return tuple(pseudo_labels(prediction, self.confident, self.confident) for prediction in found)
