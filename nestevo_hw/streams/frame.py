"""Frames and their annotations, as every stream delivers them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from nestevo_hw.base.errors import InputError

Role = Literal["training", "reference", "terminal"]
"""What frames of an embedded stream are for: to pre-train on, the server's in-domain ones, or a terminal's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Objects of one frame: ground truth or pseudo-labels."""

    boxes: Tensor
    """(N, 4) float32, x1 y1 x2 y2 in pixels; that of a whole image's class is `frame_box`."""
    labels: Tensor
    """(N,) int64, 1 to number of classes; 0 is background and never occurs."""
    ignore: Tensor
    """(N,) bool; a region that scores neither right nor wrong (COCO crowd)."""

    def __post_init__(self) -> None:
        n = self.boxes.shape[0]
        if self.boxes.shape != (n, 4) or self.labels.shape != (n,) or self.ignore.shape != (n,):
            raise InputError(
                "expected boxes (N, 4), labels (N,) and ignore (N,) but got "
                f"{tuple(self.boxes.shape)}, {tuple(self.labels.shape)} and {tuple(self.ignore.shape)}"
            )

    @classmethod
    def of(cls, boxes: Tensor, labels: Tensor) -> "Annotation":
        """Annotation without ignore regions."""
        return cls(boxes=boxes, labels=labels, ignore=torch.zeros(len(labels), dtype=torch.bool))


def frame_box(images: Tensor) -> Tensor:
    """(1, 4) box of an object that fills (.., H, W) frames."""
    return torch.tensor([[0.0, 0.0, images.shape[-1], images.shape[-2]]])


def shrunk(annotation: Annotation, factor: float) -> Annotation:
    """Annotation of a frame after it is made smaller by a factor."""
    return replace(annotation, boxes=annotation.boxes / factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBatch:
    """Consecutive or sampled frames of one stream."""

    images: Tensor
    """(N, 3, H, W) uint8, RGB."""
    indices: tuple[int, ...]
    """Position of each frame in its stream."""
    truth: tuple[Annotation, ...] | None = None
    """Ground truth of each frame, or None where the stream has none; only the evaluation reads it."""

    def __post_init__(self) -> None:
        n = len(self.indices)
        if self.images.ndim != 4 or self.images.shape[:2] != (n, 3) or self.images.dtype != torch.uint8:
            raise InputError(
                f"expected images ({n}, 3, H, W) uint8 but got {tuple(self.images.shape)} {self.images.dtype}"
            )
        if self.truth is not None and len(self.truth) != n:
            raise InputError(f"expected {n} annotations but got {len(self.truth)}")

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, rows: Sequence[int]) -> "FrameBatch":
        """Some of the frames, by row."""
        truth = None if self.truth is None else tuple(self.truth[row] for row in rows)
        return FrameBatch(images=self.images[list(rows)], indices=tuple(self.indices[row] for row in rows), truth=truth)

    def unlabelled(self) -> "FrameBatch":
        """The same frames as a terminal uploads them: without truth."""
        return replace(self, truth=None)


class Stream(Protocol):
    """Frames of one terminal over time, readable in any order and repeatable."""

    name: str
    classes: tuple[str, ...]
    """Class names; label k is classes[k - 1]."""
    fps: float
    size: tuple[int, int]
    """(H, W) of every frame in pixels."""
    length: int | None
    """Number of frames, None for an endless stream."""

    def read(self, indices: Sequence[int]) -> FrameBatch:
        """Frames at `indices` (any order); InputError if one does not exist."""
        ...
