"""Faster R-CNN taken apart: its proposal network's loss, sampled regions, and what a box head makes of them.

A batch of images is one tensor throughout, and no shape but that of the labels depends on what the images show.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

from nestevo_hw.tasks.faster_rcnn.coding import encoded
from nestevo_hw.tasks.faster_rcnn.pooling import pooled
from nestevo_hw.tasks.faster_rcnn.proposals import Scored
from nestevo_hw.tasks.faster_rcnn.selection import BACKGROUND, OBJECT, UNDECIDED, drawn, matched
from nestevo_hw.tasks.losses import IGNORED, widened
from nestevo_hw.tasks.targets import Targets

REGIONS = 32
"""Proposals of an unlabelled frame that count where nothing says which show an object."""
SMOOTH_L1_BETA = 1 / 9
"""Offset up to which a box's loss is quadratic, as torchvision has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """S regions of each of N images, and what each should be; R = N S stand in a row, image after image."""

    boxes: Tensor
    """(N, S, 4) x1 y1 x2 y2 in pixels of the network's input."""
    labels: Tensor
    """(R,) int64; 0 background, IGNORED where unknown."""
    offsets: Tensor
    """(R, 4) regression targets; zero where there is no object."""
    real: Tensor
    """(R,) bool; others stand where an image has too few regions, and count nowhere."""


@dataclass(slots=True, kw_only=True)
class RegionOutput:
    """Output of a box head on R regions, all images of the batch in a row."""

    features: Tensor
    """(R, D) feature handed to the box predictor."""
    logits: Tensor
    """(R, C + 1) class logits."""
    deltas: Tensor
    """(R, 4 (C + 1)) box offsets for each class."""


def score_anchors(model: FasterRCNN, batch: ImageList, features: dict[str, Tensor]) -> Scored:
    """What the region proposal network says of each anchor, with gradient."""
    rpn, levels = model.rpn, list(features.values())
    objectness, offsets = rpn.head(levels)
    (anchors,) = rpn.anchor_generator(ImageList(batch.tensors, batch.image_sizes[:1]), levels)
    per_level = tuple(o[0].numel() for o in objectness)
    objectness, offsets = (widened(values) for values in concat_box_prediction_layers(objectness, offsets))
    count = len(batch.image_sizes)
    return Scored(
        objectness=objectness.view(count, -1), offsets=offsets.view(count, -1, 4), anchors=anchors, per_level=per_level
    )


def proposal_loss(model: FasterRCNN, scored: Scored, targets: Targets) -> Tensor:
    """Loss of the region proposal network (objectness + box), ignore regions left out of it."""
    rpn, anchors = model.rpn, scored.anchors
    with torch.no_grad():
        kinds, which, inside = matched(anchors[None], targets, rpn.proposal_matcher)
        kinds = kinds.masked_fill_(inside & (kinds == BACKGROUND), UNDECIDED)
        rows, real = drawn(kinds, rpn.fg_bg_sampler)
        objects = (kinds.gather(1, rows) == OBJECT) & real
        wanted = encoded(_rows(targets.boxes, which.gather(1, rows)), anchors[rows], rpn.box_coder)
        count = real.sum().clamp(min=1)
    off = torch.where(objects[..., None], _rows(scored.offsets, rows) - wanted, 0.0)
    box = F.smooth_l1_loss(off, torch.zeros_like(off), beta=SMOOTH_L1_BETA, reduction="sum")
    score = F.binary_cross_entropy_with_logits(
        scored.objectness.gather(1, rows), objects.to(off), weight=real.to(off), reduction="sum"
    )
    return (box + score) / count


@torch.no_grad()
def sample_regions(model: FasterRCNN, proposals: tuple[Tensor, Tensor], targets: Targets) -> Regions:
    """Foreground and background regions to train a box head on, drawn from proposals and labels.

    Args:
        model: says how many, and what shows an object.
        proposals: see `propose`.
        targets: of the same images.
    """
    heads = model.roi_heads
    boxes = torch.cat([proposals[0], targets.boxes], 1)
    there = torch.cat([proposals[1], targets.labels > 0], 1)
    kinds, which, inside = matched(boxes, targets, heads.proposal_matcher)
    rows, real = drawn(kinds.masked_fill_(~there, UNDECIDED), heads.fg_bg_sampler)
    which, inside, boxes = which.gather(1, rows), inside.gather(1, rows), _rows(boxes, rows)
    objects = (kinds.gather(1, rows) == OBJECT) & real
    labels = torch.where(objects, targets.labels.gather(1, which), 0)
    labels = labels.masked_fill_(~real | (inside & ~objects), IGNORED)
    offsets = encoded(_rows(targets.boxes, which), boxes, heads.box_coder).masked_fill_(~objects[..., None], 0.0)
    return Regions(boxes=boxes, labels=labels.flatten(), offsets=offsets.flatten(0, 1), real=real.flatten())


def run_box_head(
    model: FasterRCNN, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
) -> RegionOutput:
    """Box head and predictor of `model` on given regions."""
    heads = model.roi_heads
    described = heads.box_head(pooled(heads.box_roi_pool, features, boxes, sizes))
    logits, deltas = heads.box_predictor(described)
    return RegionOutput(features=widened(described), logits=widened(logits), deltas=widened(deltas))


def run_on_regions(
    model: FasterRCNN, features: dict[str, Tensor], regions: Regions, sizes: list[tuple[int, int]]
) -> RegionOutput:
    """The same on sampled regions."""
    return run_box_head(model, features, list(regions.boxes.unbind()), sizes)


def region_loss(output: RegionOutput, regions: Regions) -> Tensor:
    """Cross-entropy plus smooth L1 of one box head against the labels of its regions."""
    known = (regions.labels != IGNORED).sum().clamp(min=1)
    classes = F.cross_entropy(output.logits, regions.labels, ignore_index=IGNORED, reduction="sum") / known
    objects = regions.labels > 0
    own = of_class(output.deltas, regions.labels.clamp(min=0))
    off = torch.where(objects[:, None], own - regions.offsets, 0.0)
    box = F.smooth_l1_loss(off, torch.zeros_like(off), beta=SMOOTH_L1_BETA, reduction="sum")
    return classes + box / regions.real.sum().clamp(min=1)


def of_class(deltas: Tensor, classes: Tensor) -> Tensor:
    """(R, 4) of (R, 4 C) offsets those of a class (R,) each."""
    return _rows(deltas.view(len(deltas), -1, 4), classes[:, None])[:, 0]


def _rows(boxes: Tensor, rows: Tensor) -> Tensor:
    """(N, S, 4) of (N, A, 4) boxes those of given rows (N, S)."""
    return boxes.gather(1, rows[..., None].expand(-1, -1, 4))
