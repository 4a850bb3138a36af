"""Adaptive data compression (paper 6.2): frames without a small object are trained on at half their size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from nestevo_hw.base.ranges import Range
from nestevo_hw.streams.frame import Annotation

FACTOR = 2
"""Side of the pooling window, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionConfig:
    """Which frames are pooled before training."""

    enabled: bool = False
    """Off unless asked for: it costs a point of accuracy (docs/method.md)."""
    small_px: Annotated[float, Range(0, 10_000, above=True)] = 12.0
    """An object of a smaller area than this squared keeps its frame whole, pixels of the frame. COCO's 32 px belong to
    frames 800 px high; a detector also needs its smallest anchor after pooling."""


def poolable(annotations: Sequence[Annotation], small_px: float) -> list[bool]:
    """Whether each frame may be pooled: no object or ignore region on it is smaller than `small_px` squared."""
    return [not bool(((a.boxes[:, 2:] - a.boxes[:, :2]).prod(-1) < small_px**2).any()) for a in annotations]


def pooled_images(images: Tensor) -> Tensor:
    """(N, 3, H, W) float images at half their size, each pixel the mean of four."""
    return F.avg_pool2d(images, FACTOR)
