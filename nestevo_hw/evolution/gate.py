"""The validation gate: a new teacher that lost too much on in-domain frames is not deployed."""

from dataclasses import dataclass, replace

from torch import Tensor

from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.teacher import TeacherConfig, TeacherFiles, open_teacher
from nestevo_hw.models.checkpoint import read_spec
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.predictions import pseudo_labels
from nestevo_hw.tasks.task import VisionTask, headline

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
    reason: str


def replay_part(reference: FrameBatch) -> FrameBatch:
    """In-domain frames to learn from; the validation gate never sees them."""
    return _part(reference, [i for i in range(len(reference)) if i % PARTS >= 2])


def _part(batch: FrameBatch, rows: list[int]) -> FrameBatch:
    truth = None if batch.truth is None else tuple(batch.truth[row] for row in rows)
    return FrameBatch(images=batch.images[rows], indices=tuple(batch.indices[row] for row in rows), truth=truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationGate:
    """Measures teachers on in-domain frames that nobody has learned from."""

    task: VisionTask
    teacher: TeacherConfig
    scene_norm: bool
    """Whether teachers are measured with the frames' BatchNorm statistics, as they label."""
    confident: float
    """Score from which on the digital twin's detections stand in for labels that are missing."""
    margin: float
    """Headline score that a new teacher may lose."""

    @classmethod
    def of(cls, config: RunConfig) -> "ValidationGate":
        """The gate of a run."""
        return cls(
            task=task_named(config.task),
            teacher=config.teacher,
            scene_norm=config.scene_norm,
            confident=config.labels.high_confidence,
            margin=config.gate_margin,
        )

    def compare(self, old: TeacherFiles, new: TeacherFiles, reference: FrameBatch) -> Verdict:
        """Score both teachers on the crossbar, on in-domain frames neither has learned from."""
        if reference.truth is None:
            reason = "not validated: no labelled in-domain frames"
            return Verdict(accepted=True, gate_before=None, gate_after=None, reason=reason)
        before, after = (self.score(files, reference) for files in (old, new))
        accepted = not after < before - self.margin
        relation = "within" if accepted else "beyond"
        return Verdict(
            accepted=accepted, gate_before=before, gate_after=after, reason=f"{relation} the margin of {self.margin}"
        )

    def score(self, files: TeacherFiles, reference: FrameBatch) -> float:
        """In-domain headline score of a teacher at its age, with the scene's BatchNorm where it labels with it.

        Without labels, against what its digital twin detects: how far the crossbar has led it astray.

        Returns:
            0 to 1; NaN where there is no object to find.
        """
        held_out = _part(reference, list(range(1, len(reference), PARTS)))
        scene = _part(reference, list(range(0, len(reference), PARTS))).images if self.scene_norm else None
        predictions = self.task.predict(open_teacher(self.task, self.teacher, files, scene), held_out.images)
        classes = len(read_spec(files.weights).classes)
        truth = held_out.truth or self._twin_truth(files, scene, held_out)
        return headline(self.task.score(predictions, truth, classes))

    def _twin_truth(self, files: TeacherFiles, scene: Tensor | None, frames: FrameBatch) -> tuple[Annotation, ...]:
        """What the digital weights detect with enough confidence to label it."""
        twin = open_teacher(self.task, replace(self.teacher, device=DIGITAL), files, scene)
        found = self.task.predict(twin, frames.images)
        return tuple(pseudo_labels(prediction, self.confident, self.confident) for prediction in found)
