"""Faster R-CNN: losses with ignore regions, shared-proposal mutual learning, soft targets, mAP."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_area

from nestevo_hw.models.batch_norm import re_estimate_batch_norm
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.frame import Annotation

IGNORED = -100
"""Class label that F.cross_entropy leaves out."""
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
    """What a box head says of R regions, all images of the batch in a row."""

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


def look_at(
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


def detection_loss(model: FasterRCNN, images: list[Tensor], annotations: Sequence[Annotation]) -> Tensor:
    """Supervised loss of a detector in training mode; ignore regions teach nothing.

    Args:
        model: detector.
        images: (3, H, W) float images in 0..1.
        annotations: one an image.
    """
    batch, targets = prepare(model, images, targets_of(annotations, images[0].device))
    features = model.backbone(batch.tensors)
    proposals, loss = propose(model, batch, features, targets)
    regions = sample_regions(model, proposals, targets)
    return loss + region_loss(look_at(model, features, regions.boxes, batch.image_sizes), regions)


def divergence(student: Tensor, peer: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(peer || student) of class probabilities, averaged over regions, times temperature squared.

    Args:
        student: (R, C) logits that receive the gradient.
        peer: (R, C) logits; detached.
        temperature: softens both distributions.
    """
    if not len(student):
        return student.sum()
    soft = F.log_softmax(student / temperature, -1)
    target = F.log_softmax(peer.detach() / temperature, -1)
    return F.kl_div(soft, target, log_target=True, reduction="batchmean") * temperature**2


def box_agreement(student: RegionOutput, peer_logits: Tensor, peer_deltas: Tensor) -> Tensor:
    """Smooth L1 between the offsets two box heads give for the peer's foreground class."""
    probabilities = peer_logits.detach().softmax(-1)
    best, chosen = probabilities[:, 1:].max(-1)
    rows = torch.where(best > 0.5)[0]
    if not len(rows):
        return student.deltas.sum() * 0.0
    classes = chosen[rows] + 1
    mine = student.deltas.view(len(student.deltas), -1, 4)[rows, classes]
    theirs = peer_deltas.detach().view(len(peer_deltas), -1, 4)[rows, classes]
    return F.smooth_l1_loss(mine, theirs, beta=1 / 9, reduction="sum") / len(probabilities)


def mutual_losses(
    terminal: FasterRCNN,
    intermediate: FasterRCNN,
    images: list[Tensor],
    annotations: Sequence[Annotation],
    *,
    alpha: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """Losses of deep mutual learning on one shared set of regions (paper eq. 14 and 15).

    Both box heads look at the same regions, proposed by the intermediate model. Each model learns from the
    labels and from its peer's detached prediction.

    Args:
        terminal: pruned model; `alpha` is the share of the labels in its loss, 0 to 1.
        intermediate: model of the teacher's architecture; `beta` is the same for it.
        images: (3, H, W) float images in 0..1.
        annotations: one an image.
        alpha: see `terminal`.
        beta: see `intermediate`.

    Returns:
        Loss of the terminal, loss of the intermediate model.
    """
    batch, targets = prepare(intermediate, images, targets_of(annotations, images[0].device))
    mid_features, local_features = intermediate.backbone(batch.tensors), terminal.backbone(batch.tensors)
    proposals, mid_rpn = propose(intermediate, batch, mid_features, targets)
    _, local_rpn = propose(terminal, batch, local_features, targets)
    regions = sample_regions(intermediate, proposals, targets)
    mid = look_at(intermediate, mid_features, regions.boxes, batch.image_sizes)
    local = look_at(terminal, local_features, regions.boxes, batch.image_sizes)
    local_peer = divergence(local.logits, mid.logits) + box_agreement(local, mid.logits, mid.deltas)
    mid_peer = divergence(mid.logits, local.logits) + box_agreement(mid, local.logits, local.deltas)
    return (
        alpha * (local_rpn + region_loss(local, regions)) + (1 - alpha) * local_peer,
        beta * (mid_rpn + region_loss(mid, regions)) + (1 - beta) * mid_peer,
    )


@torch.no_grad()
def predict(model: FasterRCNN, images: Tensor, *, batch_size: int = 16) -> list[dict[str, Tensor]]:
    """Detections of each frame, on the CPU.

    Args:
        model: detector in eval mode.
        images: (N, 3, H, W) uint8.
        batch_size: frames at a time.

    Returns:
        One dictionary a frame: boxes (D, 4) pixels of the frame, labels (D,), scores (D,).
    """
    device = next(model.parameters()).device
    found: list[dict[str, Tensor]] = []
    for chunk in images.split(batch_size):
        found += [{k: v.cpu() for k, v in d.items()} for d in model(as_list(chunk.to(device)))]
    return found


def re_estimate(model: FasterRCNN, images: Tensor, *, batch_size: int = 16) -> None:
    """Replace a detector's BatchNorm statistics by those of frames, in place.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8.
        batch_size: frames at a time.
    """
    batches = [model.transform(as_list(chunk), None)[0].tensors for chunk in images.split(batch_size)]
    re_estimate_batch_norm(model, model.backbone, batches)
