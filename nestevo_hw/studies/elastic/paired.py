"""How sure a difference of accuracy between two models is: both on the same frames, which are drawn again and again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nestevo_hw.terminals.elastic.edge import EdgeFrames
from nestevo_hw.terminals.judging import hits, precision, same_class, shown
from nestevo_hw.terminals.runtime import Found

DRAWS = 500
Rate = Callable[[Sequence[int]], float]
"""Accuracy of a model on some of the frames, by their rows."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of the accuracies of two models."""

    value: float
    low: float
    high: float
    """Ends of the 95 % interval: percentiles of the paired bootstrap over frames."""


def precision_of(seen: Sequence[Found], frames: EdgeFrames) -> Rate:
    """mAP@0.50 of a detector by what it sees on each frame; detections are held against objects once."""
    each = list(zip(seen, frames.truth, frames.ignored, strict=True))
    held = [[hits(label, *frame) for frame in each] for label in shown(frames.truth)]

    def rate(rows: Sequence[int]) -> float:
        drawn = [[of_label[row] for row in rows] for of_label in held]
        each = [precision(of_label) for of_label in drawn if any(one.objects for one in of_label)]
        return sum(each) / len(each) if each else 0.0

    return rate


def share_right(seen: Sequence[Found], frames: EdgeFrames) -> Rate:
    """Accuracy of a classifier by what it sees on each frame."""
    return lambda rows: same_class([seen[row] for row in rows], [frames.truth[row] for row in rows])


def difference(one: Rate, other: Rate, frames: int, *, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Accuracy of one model less that of another.

    Args:
        one: on any rows of the frames.
        other: the same of the other model.
        frames: how many there are.
        draws: of as many frames, with replacement.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    drawn = [generator.integers(frames, size=frames).tolist() for _ in range(draws)]
    low, high = np.quantile([one(rows) - other(rows) for rows in drawn], [0.025, 0.975])
    every = range(frames)
    return Difference(one(every) - other(every), float(low), float(high))
