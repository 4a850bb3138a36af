"""Regions cut out of a feature pyramid, each from the level that fits its size."""

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import _convert_to_roi_format, _filter_input, _setup_scales

from nestevo_hw.tasks.faster_rcnn.shapes import fixed

FAR_AWAY = -1e5
"""Corner of a box of which no level sees anything, pixels."""


def pooled(pooler: nn.Module, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
    """(R, C, h, w) of all boxes in a row, as `pooler` makes it.

    Args:
        pooler: of a detector; torchvision's own asks for values and is replaced where shapes are fixed.
        features: maps by level.
        boxes: per image (R_i, 4) x1 y1 x2 y2 in pixels of the network's input.
        sizes: (H, W) of each image as the network sees it.
    """
    if not isinstance(pooler, MultiScaleRoIAlign) or not fixed(boxes[0]):
        found: Tensor = pooler(features, boxes, sizes)
        return found
    levels = _filter_input(features, pooler.featmap_names)
    if pooler.scales is None or pooler.map_levels is None:
        pooler.scales, pooler.map_levels = _setup_scales(levels, sizes, pooler.canonical_scale, pooler.canonical_level)
    rois, level_of = _convert_to_roi_format(boxes), pooler.map_levels(boxes)
    total: Tensor | None = None
    for number, (level, scale) in enumerate(zip(levels, pooler.scales, strict=True)):
        elsewhere = (level_of != number)[:, None]
        own = torch.cat([rois[:, :1], rois[:, 1:].masked_fill(elsewhere, FAR_AWAY)], 1)
        part = roi_align(level, own, pooler.output_size, scale, pooler.sampling_ratio)
        total = part if total is None else total.add_(part)  # zero where the region is elsewhere
    assert total is not None
    return total
