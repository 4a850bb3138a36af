"""Replay against forgetting: frames of earlier windows, with the supervision that they were taught with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nestevo_hw.base.ranges import MOST_FRAMES, Range
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.tasks.supervision import Supervision

Memory = tuple[Tensor, list[Supervision]]
"""(N, 3, H, W) uint8 frames and the supervision on each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """Frames of earlier windows in a terminal's distillation."""

    frames: Annotated[int, Range(0, MOST_FRAMES)] = 32
    """Kept of all earlier windows together, evenly; 0 turns replay off."""


def remembered(memories: Sequence[Memory], frames: int) -> Memory | None:
    """At most `frames` frames, evenly from all memories and evenly spread within each; None of no memory.

    Args:
        memories: frames of earlier windows with their supervision, oldest first.
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
    """Frames and their supervision, followed by at most `frames` of earlier windows."""
    old = remembered(memories, frames)
    if old is None:
        return images, list(supervision)
    return torch.cat([images, old[0]]), [*supervision, *old[1]]
