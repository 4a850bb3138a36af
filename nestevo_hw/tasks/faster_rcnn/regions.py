"""Faster R-CNN taken apart: proposals with ignore regions, sampled regions, and what a box head makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_area

from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.losses import IGNORED

IGNORE_OVERLAP = 0.5
"""A background region that lies more than this share inside an ignore region teaches nothing."""


@dataclass(slots=True, kw_only=True)
class Regions:
    """Regions of a batch of images and what each should be."""

    boxes: list[Tensor]
    """Per image (R, 4) x1 y1 x2 y2 in pixels of the network's input."""
    labels: list[Tensor]
    """Per image (R,) int64; 0 background, IGNORED where unknown."""
    offsets: list[Tensor]
    """Per image (R, 4) regression targets."""


@dataclass(slots=True, kw_only=True)
class RegionOutput:
    """Output of a box head on R regions, all images of the batch in a row."""

    features: Tensor
    """(R, D) feature handed to the box predictor."""
    logits: Tensor
    """(R, C + 1) class logits."""
    deltas: Tensor
    """(R, 4 (C + 1)) box offsets for each class."""


Target = dict[str, Tensor]


def targets_of(annotations: Sequence[Annotation], device: torch.device) -> list[Target]:
    """Annotations as torchvision targets plus the key "ignore" with the boxes that teach nothing."""
    return [
        {
            "boxes": a.boxes[~a.ignore].to(device),
            "labels": a.labels[~a.ignore].to(device),
            "ignore": a.boxes[a.ignore].to(device),
        }
        for a in annotations
    ]


def prepare(model: FasterRCNN, images: list[Tensor], targets: list[Target]) -> tuple[ImageList, list[Target]]:
    """Normalise and resize images to the network's input, boxes and ignore regions with them."""
    batch, scaled = model.transform(images, [{"boxes": t["boxes"], "labels": t["labels"]} for t in targets])
    for before, after, image, size in zip(targets, scaled, images, batch.image_sizes, strict=True):
        ratio = torch.tensor([size[1] / image.shape[2], size[0] / image.shape[1]], device=image.device).repeat(2)
        after["ignore"] = before["ignore"] * ratio
    return batch, scaled


def propose(
    model: FasterRCNN, batch: ImageList, features: dict[str, Tensor], targets: list[Target]
) -> tuple[list[Tensor], Tensor]:
    """Proposals of the region proposal network and its loss, ignore regions left out of it.

    Returns:
        Per image (P, 4) proposals without gradient, and the scalar loss (objectness + box).
    """
    rpn = model.rpn
    levels = list(features.values())
    objectness, deltas = rpn.head(levels)
    anchors = rpn.anchor_generator(batch, levels)
    per_level = [o[0].numel() for o in objectness]
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    decoded = rpn.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
    proposals, _ = rpn.filter_proposals(decoded, objectness.detach(), batch.image_sizes, per_level)
    labels, matched = rpn.assign_targets_to_anchors(anchors, targets)
    for label, anchor, target in zip(labels, anchors, targets, strict=True):
        label[(label == 0) & _inside(anchor, target["ignore"])] = -1.0
    losses = rpn.compute_loss(objectness, deltas, labels, rpn.box_coder.encode(matched, anchors))
    return proposals, losses[0] + losses[1]


def _inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """(N,) bool: boxes that lie more than IGNORE_OVERLAP of their area inside one of `regions` (M, 4)."""
    if not len(regions):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    corner = torch.minimum(boxes[:, None, 2:], regions[:, 2:]) - torch.maximum(boxes[:, None, :2], regions[:, :2])
    overlap = corner.clamp_(min=0).prod(-1)
    inside: Tensor = (overlap > IGNORE_OVERLAP * box_area(boxes)[:, None]).any(1)
    return inside


def sample_regions(model: FasterRCNN, proposals: list[Tensor], targets: list[Target]) -> Regions:
    """Foreground and background regions to train a box head on, drawn from proposals and labels."""
    boxes, _, labels, offsets = model.roi_heads.select_training_samples(proposals, targets)
    for label, box, target in zip(labels, boxes, targets, strict=True):
        label[(label == 0) & _inside(box, target["ignore"])] = IGNORED
    return Regions(boxes=boxes, labels=labels, offsets=offsets)


def run_box_head(
    model: FasterRCNN, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
) -> RegionOutput:
    """Box head and predictor of `model` on given regions."""
    heads = model.roi_heads
    pooled = heads.box_head(heads.box_roi_pool(features, boxes, sizes))
    logits, deltas = heads.box_predictor(pooled)
    return RegionOutput(features=pooled, logits=logits, deltas=deltas)


def region_loss(output: RegionOutput, regions: Regions) -> Tensor:
    """Cross-entropy plus smooth L1 of one box head against the labels of its regions."""
    labels = torch.cat(regions.labels)
    if bool((labels == IGNORED).all()):
        return output.logits.sum() * 0.0
    return sum(
        fastrcnn_loss(output.logits, output.deltas, regions.labels, regions.offsets),
        start=output.logits.new_zeros(()),
    )
