"""Further frames in a terminal's distillation: of its earlier windows, against forgetting, and of its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nestevo_hw.base.ranges import MOST_FRAMES, NOT_NEGATIVE, Range
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.tasks.supervision import Supervision

Memory = tuple[Tensor, list[Supervision]]
"""(N, 3, H, W) uint8 frames and the supervision on each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """Further frames in a terminal's distillation."""

    frames: Annotated[int, Range(0, MOST_FRAMES)] = 32
    """Kept of all earlier windows together, evenly; 0 turns replay off."""
    neighbours: Annotated[int, Range(0, MOST_FRAMES)] = 96
    """Of other terminals of the group that see the same kind of scene in the same window, evenly, as the teacher has
    labelled them, where the method lets terminals learn from one another; 0: each learns its own frames alone."""
    related: Annotated[float, NOT_NEGATIVE] = 0.5
    """How far another terminal's scene may lie from its own to be of the same kind, where its in-domain frames lie at 1
    (`evolution.related`)."""


def remembered(memories: Sequence[Memory], frames: int) -> Memory | None:
    """At most `frames` frames, evenly from all memories and evenly spread within each; None of no memory.

    Args:
        memories: frames of each earlier window, oldest first, or of each neighbour, with their supervision.
        frames: in total.
    """
    present = [memory for memory in memories if len(memory[0])]
    if not present or not frames:
        return None
    sizes, shares = [len(images) for images, _ in present], [0] * len(present)
    for _ in range(min(frames, sum(sizes))):
        shares[min((k for k, size in enumerate(sizes) if shares[k] < size), key=lambda k: shares[k])] += 1
    kept = [_spread(*memory, share) for memory, share in zip(present, shares, strict=True)]
    return torch.cat([images for images, _ in kept]), [s for _, supervision in kept for s in supervision]


def _spread(images: Tensor, supervision: Sequence[Supervision], count: int) -> Memory:
    rows = evenly(range(len(images)), count)
    return images[rows], [supervision[row] for row in rows]


def replayed(
    images: Tensor, supervision: Sequence[Supervision], memories: Sequence[Memory], frames: int
) -> tuple[Tensor, list[Supervision]]:
    """Frames and their supervision, followed by at most `frames` of earlier windows, or of neighbours."""
    further = remembered(memories, frames)
    if further is None:
        return images, list(supervision)
    return torch.cat([images, further[0]]), [*supervision, *further[1]]
