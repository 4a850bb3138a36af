"""Losses of Faster R-CNN: from labels, from a peer on shared regions, from a teacher's soft targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.faster_rcnn.regions import (
    RegionOutput,
    Regions,
    prepare,
    propose,
    region_loss,
    run_box_head,
    sample_regions,
    targets_of,
)
from nestevo_hw.tasks.losses import kl_divergence
from nestevo_hw.tasks.supervision import Supervision


@dataclass(slots=True, kw_only=True)
class SupervisedPass:
    """Forward pass of a detector on labelled images."""

    loss: Tensor
    """Scalar, of the region proposal network and the box head against the labels; ignore regions teach nothing."""
    features: dict[str, Tensor]
    """Feature maps by pyramid level."""
    sizes: list[tuple[int, int]]
    """(H, W) of each image as the network sees it."""
    regions: Regions
    output: RegionOutput


def supervised_pass(model: FasterRCNN, images: list[Tensor], annotations: Sequence[Annotation]) -> SupervisedPass:
    """Run a detector in training mode on labelled images.

    Args:
        model: detector.
        images: (3, H, W) float images in 0..1.
        annotations: one an image.
    """
    batch, targets = prepare(model, images, targets_of(annotations, images[0].device))
    features = model.backbone(batch.tensors)
    proposals, loss = propose(model, batch, features, targets)
    regions = sample_regions(model, proposals, targets)
    output = run_box_head(model, features, regions.boxes, batch.image_sizes)
    loss = loss + region_loss(output, regions)
    return SupervisedPass(loss=loss, features=features, sizes=batch.image_sizes, regions=regions, output=output)


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

    Both box heads run on the same regions, proposed by the intermediate model. Each model learns from the
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
    mid = run_box_head(intermediate, mid_features, regions.boxes, batch.image_sizes)
    local = run_box_head(terminal, local_features, regions.boxes, batch.image_sizes)
    local_peer = kl_divergence(local.logits, mid.logits) + box_agreement(local, mid.logits, mid.deltas)
    mid_peer = kl_divergence(mid.logits, local.logits) + box_agreement(mid, local.logits, local.deltas)
    return (
        alpha * (local_rpn + region_loss(local, regions)) + (1 - alpha) * local_peer,
        beta * (mid_rpn + region_loss(mid, regions)) + (1 - beta) * mid_peer,
    )


def distillation_loss(
    student: FasterRCNN,
    images: list[Tensor],
    supervision: Sequence[Supervision],
    *,
    temperature: float,
    soft_share: float,
) -> Tensor:
    """Loss of a student against its teacher's stored pseudo-labels and soft targets.

    Args:
        student: detector in training mode.
        images: (3, H, W) float images in 0..1.
        supervision: one an image, mirrored where the image is.
        temperature: softens class probabilities of the soft targets.
        soft_share: weight of the soft targets, 0 to 1; the rest is the pseudo-labels'.
    """
    hard = supervised_pass(student, images, [s.annotation for s in supervision])
    if soft_share == 0.0:
        return hard.loss
    device = images[0].device
    scaled = [
        s.regions.to(device)
        * torch.tensor([size[1] / image.shape[2], size[0] / image.shape[1]], device=device).repeat(2)
        for s, image, size in zip(supervision, images, hard.sizes, strict=True)
    ]
    seen = run_box_head(student, hard.features, scaled, hard.sizes)
    logits = torch.cat([s.logits for s in supervision]).to(device)
    deltas = torch.cat([s.deltas for s in supervision]).to(device)
    soft = kl_divergence(seen.logits, logits, temperature) + box_agreement(seen, logits, deltas)
    return (1 - soft_share) * hard.loss + soft_share * soft
