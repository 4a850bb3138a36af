"""How good a teacher is on in-domain frames, and the guard: one that lost too much there is not deployed."""

from dataclasses import dataclass, replace

from torch import Tensor

from nestevo_hw.base.stats import or_none
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.teacher import DIGITAL, TeacherFiles, open_teacher
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.tasks.task import headline, task_named

PARTS = 4
"""Of every four in-domain frames one sets the guard's BatchNorm statistics, one is scored, two may be replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the guard found."""

    accepted: bool
    gate_before: float | None
    """In-domain score of the old teacher on the crossbar; None without labelled in-domain frames or objects on them."""
    gate_after: float | None
    """The same of the new one."""
    reason: str


def replay_part(reference: FrameBatch) -> FrameBatch:
    """In-domain frames to learn from; the guard never sees them."""
    return _part(reference, [i for i in range(len(reference)) if i % PARTS >= 2])


def _part(batch: FrameBatch, rows: list[int]) -> FrameBatch:
    truth = None if batch.truth is None else tuple(batch.truth[row] for row in rows)
    return FrameBatch(images=batch.images[rows], indices=tuple(batch.indices[row] for row in rows), truth=truth)


def compare_teachers(config: RunConfig, old: TeacherFiles, new: TeacherFiles, reference: FrameBatch) -> Verdict:
    """Score both teachers on the crossbar, on in-domain frames neither has learned from."""
    if reference.truth is None:
        reason = "unguarded: no labelled in-domain frames"
        return Verdict(accepted=True, gate_before=None, gate_after=None, reason=reason)
    before, after = (score_teacher(config, files, reference) for files in (old, new))
    accepted = not after < before - config.gate_margin
    relation = "within" if accepted else "beyond"
    reason = f"{relation} the margin of {config.gate_margin}"
    return Verdict(accepted=accepted, gate_before=or_none(before), gate_after=or_none(after), reason=reason)


def score_teacher(config: RunConfig, files: TeacherFiles, reference: FrameBatch) -> float:
    """In-domain headline score of a teacher at its age, with the scene's BatchNorm where it labels with it.

    Without labels, against what its digital twin detects: how far the crossbar has led it astray.

    Returns:
        0 to 1; NaN where there is no object to find.
    """
    held_out = _part(reference, list(range(1, len(reference), PARTS)))
    scene = _part(reference, list(range(0, len(reference), PARTS))).images if config.scene_norm else None
    task = task_named(config.task)
    found = task.predict(open_teacher(task, config.teacher, files, scene), held_out.images)
    classes = len(load_model(files.weights)[1].classes)
    truth = held_out.truth or _twin_truth(config, files, scene, held_out)
    return headline(task.score(found, truth, classes))


def _twin_truth(
    config: RunConfig, files: TeacherFiles, scene: Tensor | None, frames: FrameBatch
) -> tuple[Annotation, ...]:
    """What the digital weights detect with enough confidence to label it."""
    task = task_named(config.task)
    twin = open_teacher(task, replace(config.teacher, device=DIGITAL), files, scene)
    sure = [(d, d["scores"] >= config.labels.accept) for d in task.predict(twin, frames.images)]
    return tuple(Annotation.of(d["boxes"][kept], d["labels"][kept]) for d, kept in sure)
