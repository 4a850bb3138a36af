"""One frame in several views, which have to agree: whole, mirrored, and in enlarged parts."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from nestevo_hw.tasks.fusion import weighted_boxes_fusion
from nestevo_hw.tasks.predictions import Prediction, mirrored_prediction

Predict = Callable[[Tensor], list[dict[str, Tensor]]]
"""A detector: detections of each of (N, 3, H, W) uint8 frames."""
_PART = 0.6
"""Of a side, so that parts overlap by a fifth of the frame."""
_LONG = 2.0
"""Longer side over shorter one, above which only the longer one is divided."""
_OVERLAP = 0.55
"""IoU from which on detections of two parts are one object."""
_EDGE = 1.0
"""How near to the edge of a part a box reaches that is cut there, pixels."""


def confirmed(predict: Predict, image: Tensor) -> dict[str, Tensor]:
    """Detections of a (3, H, W) uint8 frame on which three views agree, by falling score.

    A score is the mean over the views, so that it is high only where all find an object. The parts are one view.
    """
    (whole,), others = predict(image[None]), other_views(predict, image, mirror=True, divided=True)
    fused = weighted_boxes_fusion([whole, *others])
    order = fused["scores"].argsort(descending=True, stable=True)
    return {key: value[order] for key, value in fused.items()}


def other_views(predict: Predict, image: Tensor, *, mirror: bool, divided: bool) -> list[Prediction]:
    """Detections of a (3, H, W) uint8 frame mirrored, and in enlarged parts, in pixels of the frame as it is."""
    views: list[Prediction] = []
    if mirror:
        (found,) = predict(image.flip(2)[None])
        views.append(mirrored_prediction(found, image.shape[2]))
    if divided:
        views.append(_in_parts(predict, image))
    return views


def parts(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of overlapping parts that cover a frame of (H, W) `size`: two, or two by two."""
    (height, width) = size
    rows = [(0, height)] if width > _LONG * height else _two(height)
    columns = [(0, width)] if height > _LONG * width else _two(width)
    return [(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def _two(side: int) -> list[tuple[int, int]]:
    length = max(1, round(_PART * side))
    return [(0, length), (side - length, side)]


def _in_parts(predict: Predict, image: Tensor) -> Prediction:
    """Detections in all parts, in pixels of the frame; what a part cuts off is left to the other views."""
    found = []
    for left, top, right, bottom in parts((image.shape[1], image.shape[2])):
        (one,) = predict(image[None, :, top:bottom, left:right])
        boxes = one["boxes"] + torch.tensor([left, top, left, top])
        whole = _uncut(boxes, (left, top, right, bottom), (image.shape[1], image.shape[2]))
        found.append({"boxes": boxes[whole], "labels": one["labels"][whole], "scores": one["scores"][whole]})
    joined = {key: torch.cat([one[key] for one in found]) for key in found[0]}
    kept = batched_nms(joined["boxes"], joined["scores"], joined["labels"], _OVERLAP)
    return {key: value[kept] for key, value in joined.items()}


def _uncut(boxes: Tensor, part: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """(N,) which boxes end before the edges of a part, but where these are the frame's own."""
    near = (boxes - torch.tensor(part)).abs() < _EDGE
    inner = torch.tensor([part[0] > 0, part[1] > 0, part[2] < size[1], part[3] < size[0]])
    return ~(near & inner).any(1)
