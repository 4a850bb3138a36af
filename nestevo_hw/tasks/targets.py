"""Labels of a batch of frames as losses take them: one tensor, which travels to a device in one copy."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nestevo_hw.base.transfer import sent
from nestevo_hw.streams.frame import Annotation

PADDING, IGNORE = 0, -1
"""In place of a class: there is nothing, or a region that teaches nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Labels of N images; each has room for M boxes."""

    boxes: Tensor
    """(N, M, 4) x1 y1 x2 y2 in pixels."""
    labels: Tensor
    """(N, M) int64: a class from 1, PADDING or IGNORE."""
    ignores: bool
    """Whether any is IGNORE."""


def targets_of(
    annotations: Sequence[Annotation], ratios: Sequence[tuple[float, float]], device: torch.device
) -> Targets:
    """Annotations whose boxes are multiplied by the ratios (x, y) of their images, in one copy to a device."""
    ignore = torch.cat([a.ignore for a in annotations])
    labels = torch.cat([a.labels for a in annotations]).masked_fill(ignore, IGNORE)
    rows = torch.cat([torch.cat([a.boxes for a in annotations]), labels[:, None]], 1)
    padded = pad_sequence(list(rows.split([len(a.labels) for a in annotations])), batch_first=True)
    if not padded.shape[1]:
        padded = padded.new_zeros(len(annotations), 1, 5)
    if any(ratio != (1.0, 1.0) for ratio in ratios):
        padded[..., :4] *= torch.tensor(ratios).repeat(1, 2)[:, None]
    there = sent(padded, device)
    return Targets(boxes=there[..., :4].contiguous(), labels=there[..., 4].long(), ignores=bool(ignore.any()))
