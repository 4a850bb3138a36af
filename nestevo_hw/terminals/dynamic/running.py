"""A dynamic model on the frames of a source: what it sees, what each frame took, and what was computed anew."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from nestevo_hw.base.errors import InputError
from nestevo_hw.terminals.dynamic.exits import LEAST_AGREEMENT, Exit, fit, pooled
from nestevo_hw.terminals.dynamic.fitting import fitted
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.overlay import overlay
from nestevo_hw.terminals.dynamic.plan import FrameDone
from nestevo_hw.terminals.runtime import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRow:
    """One frame of a run, for a file."""

    reason: str
    seconds: float
    gate_s: float
    changed: tuple[tuple[int, int, int, int], ...]
    """x1 y1 x2 y2 of each part that changed, pixels of the model's image."""
    stages: dict[str, str]
    """What each stage did; empty where none ran."""
    rung: int
    """Of the hook's ladder, that was taken; 0: none."""
    objects: int
    """That it reports."""
    agreement: float | None


def run(
    model: DynamicModel,
    frames: Iterable[Frame],
    *,
    most: int | None = None,
    draw: Callable[[Frame], None] | None = None,
    advance: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    least_score: float = 0.5,
    rows: list[FrameRow] | None = None,
) -> list[FrameRow]:
    """Run a model on frames.

    Args:
        model: of a path.
        frames: of any size.
        most: frames; None: to the end of the source.
        draw: given a picture of each frame.
        advance: told about each frame.
        stopped: whether to end now.
        least_score: of objects that are reported.
        rows: to add to, frame by frame, and to return: they stay though a later frame fails.

    Raises:
        InputError: there are no frames, or the model fails.
    """
    rows = [] if rows is None else rows
    size = model.parts.image[1:]
    for frame in islice(fitted(frames, size), most):
        found = model.look(frame)
        assert model.last is not None
        rows.append(_row(model.last, int((found.scores >= least_score).sum())))
        if draw is not None:
            draw(overlay(frame, model.last, found, least_score=least_score))
        advance(f"frame {len(rows)}: {model.last.reason}")
        if stopped():
            break
    if not rows:
        raise InputError("the source shows no frames; give another --source")
    return rows


def _row(done: FrameDone, objects: int) -> FrameRow:
    changed = tuple((c.start, r.start, c.stop, r.stop) for r, c in done.changed)
    return FrameRow(
        reason=done.reason.value, seconds=done.seconds, gate_s=done.gate_s, changed=changed,
        stages={one.plan.stage: one.plan.did for one in done.stages}, rung=done.rung, objects=objects,
        agreement=done.agreement,
    )  # fmt: skip


def fit_exits(
    model: DynamicModel, frames: Iterable[Frame], *, most: int | None = None, least_agreement: float = LEAST_AGREEMENT
) -> dict[str, Exit]:
    """Early exits of a classifier, fitted on frames without labels; each is run dense.

    Args:
        model: of a path.
        frames: of any size.
        most: frames; None: all.
        least_agreement: see `nestevo_hw.terminals.dynamic.exits.fit`.

    Raises:
        InputError: the model is a detector, or there are too few frames.
    """
    model.use_exits({})
    stages = [stage for stage in model.chain.stages if stage.model.kind == "features"]
    features, answers = {stage.name: list[np.ndarray]() for stage in stages}, list[np.ndarray]()
    for frame in islice(fitted(frames, model.parts.image[1:]), most):
        model.chain.dense(frame)
        for stage in stages:
            (name,) = stage.model.gives.values()
            features[stage.name].append(pooled(model.chain.values[name]))
        answers.append(model.chain.values[model.outputs[0]])
    known = np.concatenate(answers) if answers else np.empty((0, 1), np.float32)
    return fit(features, known, least_agreement=least_agreement)


def timings(rows: list[FrameRow]) -> dict[str, float]:
    """Median, mean and 95th percentile of frames, seconds."""
    seconds = [row.seconds for row in rows]
    return {
        "median_s": float(np.median(seconds)), "mean_s": float(np.mean(seconds)),
        "p95_s": float(np.percentile(seconds, 95)),
    }  # fmt: skip
