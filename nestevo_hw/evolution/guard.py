"""Guarded deployment: a new teacher that lost too much on labelled in-domain frames is rejected."""

from dataclasses import dataclass

from nestevo_hw.config import RunConfig
from nestevo_hw.evolution.teacher import TeacherFiles, open_teacher
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.tasks.detection import predict
from nestevo_hw.tasks.metrics import mean_average_precision

PARTS = 4
"""Of every four in-domain frames one sets the guard's BatchNorm statistics, one is scored, two may be replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the guard found."""

    accepted: bool
    guard_before: float | None
    """In-domain mAP@0.50 of the old teacher on the crossbar; None without labelled in-domain frames."""
    guard_after: float | None
    """The same of the new one."""
    reason: str


def replay_part(reference: FrameBatch) -> FrameBatch:
    """In-domain frames to learn from; the guard never sees them."""
    return _part(reference, [i for i in range(len(reference)) if i % PARTS >= 2])


def _part(batch: FrameBatch, rows: list[int]) -> FrameBatch:
    truth = None if batch.truth is None else tuple(batch.truth[row] for row in rows)
    return FrameBatch(images=batch.images[rows], indices=tuple(batch.indices[row] for row in rows), truth=truth)


def compare_teachers(
    config: RunConfig, old: TeacherFiles, new: TeacherFiles, reference: FrameBatch, *, classes: int
) -> Verdict:
    """Score both teachers on the crossbar, on in-domain frames neither has learned from."""
    scene = _part(reference, list(range(0, len(reference), PARTS))).images
    held_out = _part(reference, list(range(1, len(reference), PARTS)))
    truth = held_out.truth
    if truth is None:
        reason = "unguarded: no labelled in-domain frames"
        return Verdict(accepted=True, guard_before=None, guard_after=None, reason=reason)
    before, after = (
        mean_average_precision(
            predict(open_teacher(config.teacher, files, scene), held_out.images), truth, classes
        ).map50
        for files in (old, new)
    )
    accepted = not after < before - config.guard_margin
    relation = "within" if accepted else "beyond"
    reason = f"{relation} the margin of {config.guard_margin}"
    return Verdict(accepted=accepted, guard_before=before, guard_after=after, reason=reason)
