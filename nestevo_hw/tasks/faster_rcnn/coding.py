"""Boxes and offsets between them, for tensors of any number of dimensions (Ren et al., Faster R-CNN, eq. 2)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder


def encoded(wanted: Tensor, boxes: Tensor, coder: BoxCoder) -> Tensor:
    """(.., 4) offsets that lead from boxes (.., 4) to the wanted ones (.., 4).

    Args:
        wanted: x1 y1 x2 y2.
        boxes: x1 y1 x2 y2, none of them empty.
        coder: whose weights the offsets have.
    """
    (centre, side), (target, extent) = _centre_and_side(boxes), _centre_and_side(wanted)
    shift_weights, growth_weights = _weights(coder, boxes)
    return torch.cat([shift_weights * (target - centre) / side, growth_weights * (extent / side).log()], -1)


def decoded(offsets: Tensor, boxes: Tensor, coder: BoxCoder) -> Tensor:
    """(.., 4) boxes to which offsets (.., 4) lead from boxes (.., 4); see `encoded`."""
    centre, side = _centre_and_side(boxes)
    shift_weights, growth_weights = _weights(coder, boxes)
    target = offsets[..., :2] / shift_weights * side + centre
    half = 0.5 * ((offsets[..., 2:] / growth_weights).clamp(max=coder.bbox_xform_clip).exp() * side)
    return torch.cat([target - half, target + half], -1)


def clipped(boxes: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """(N, T, 4) boxes cut to the (H, W) of their images."""
    if len(set(sizes)) > 1:
        return torch.cat([clipped(one, [size]) for one, size in zip(boxes.split(1), sizes, strict=True)])
    height, width = sizes[0]
    return torch.stack([boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)], -1).flatten(-2)


def area(boxes: Tensor) -> Tensor:
    """(..) of (.., 4) boxes."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def shared_area(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, M, A) area that each of boxes (N, M, 4) shares with each of others (N or 1, A, 4)."""
    own, their = boxes[:, :, None].unbind(-1), others[:, None].unbind(-1)
    width = (torch.minimum(own[2], their[2]) - torch.maximum(own[0], their[0])).clamp_(min=0)
    return width.mul_((torch.minimum(own[3], their[3]) - torch.maximum(own[1], their[1])).clamp_(min=0))


def _centre_and_side(boxes: Tensor) -> tuple[Tensor, Tensor]:
    side = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * side, side


def _weights(coder: BoxCoder, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Of shifts along x and y, and of growth along both; numbers where the two are the same."""
    x, y, width, height = coder.weights
    if x == y and width == height:
        return x, width
    both = [torch.cat([like.new_full((1,), w) for w in pair]) for pair in ((x, y), (width, height))]
    return both[0], both[1]
