"""Losses of Faster R-CNN: from labels, from a peer on shared regions, from a teacher's soft targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.transfer import sent
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.faster_rcnn.proposals import propose
from nestevo_hw.tasks.faster_rcnn.regions import (
    REGIONS,
    SMOOTH_L1_BETA,
    RegionOutput,
    Regions,
    of_class,
    proposal_loss,
    region_loss,
    run_box_head,
    run_on_regions,
    sample_regions,
    score_anchors,
)
from nestevo_hw.tasks.faster_rcnn.targets import inputs_of, prepare
from nestevo_hw.tasks.losses import entropy, kl_divergence
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
    batch, targets = prepare(model, images, annotations)
    features = model.backbone(batch.tensors)
    scored = score_anchors(model, batch, features)
    loss = proposal_loss(model, scored, targets)
    regions = sample_regions(model, propose(model.rpn, scored, batch.image_sizes), targets)
    output = run_on_regions(model, features, regions, batch.image_sizes)
    loss = loss + region_loss(output, regions)
    return SupervisedPass(loss=loss, features=features, sizes=batch.image_sizes, regions=regions, output=output)


def box_agreement(
    student: RegionOutput, peer_logits: Tensor, peer_deltas: Tensor, real: Tensor | None = None
) -> Tensor:
    """Smooth L1 between the offsets two box heads give for the peer's foreground class, over the number of regions.

    Args:
        student: on R regions.
        peer_logits: (R, C + 1); detached.
        peer_deltas: (R, 4 (C + 1)); detached.
        real: (R,) bool, which regions count; None = all.
    """
    best, chosen = peer_logits.detach().softmax(-1)[:, 1:].max(-1)
    sure = best > 0.5 if real is None else (best > 0.5) & real
    classes = chosen + 1
    off = of_class(student.deltas, classes) - of_class(peer_deltas.detach(), classes)
    off = torch.where(sure[:, None], off, 0.0)
    loss = F.smooth_l1_loss(off, torch.zeros_like(off), beta=SMOOTH_L1_BETA, reduction="sum")
    return loss / (max(len(sure), 1) if real is None else real.sum().clamp(min=1))


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
    batch, targets = prepare(intermediate, images, annotations)
    mid_features, local_features = intermediate.backbone(batch.tensors), terminal.backbone(batch.tensors)
    scored = score_anchors(intermediate, batch, mid_features)
    mid_rpn = proposal_loss(intermediate, scored, targets)
    local_rpn = proposal_loss(terminal, score_anchors(terminal, batch, local_features), targets)
    regions = sample_regions(intermediate, propose(intermediate.rpn, scored, batch.image_sizes), targets)
    mid = run_on_regions(intermediate, mid_features, regions, batch.image_sizes)
    local = run_on_regions(terminal, local_features, regions, batch.image_sizes)
    local_peer, mid_peer = _imitation(local, mid, regions), _imitation(mid, local, regions)
    return (
        alpha * (local_rpn + region_loss(local, regions)) + (1 - alpha) * local_peer,
        beta * (mid_rpn + region_loss(mid, regions)) + (1 - beta) * mid_peer,
    )


def _imitation(own: RegionOutput, peer: RegionOutput, regions: Regions) -> Tensor:
    """How far a box head is from its detached peer on shared regions."""
    classes = kl_divergence(own.logits, peer.logits, rows=regions.real)
    return classes + box_agreement(own, peer.logits, peer.deltas, regions.real)


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
    counts = [len(s.regions) for s in supervision]
    ratios = [[w / image.shape[2], h / image.shape[1]] for image, (h, w) in zip(images, hard.sizes, strict=True)]
    scales = torch.tensor(ratios).repeat(1, 2).repeat_interleave(torch.tensor(counts), 0)
    regions = sent(torch.cat([s.regions for s in supervision]) * scales, device)
    seen = run_box_head(student, hard.features, list(regions.split(counts)), hard.sizes)
    logits = sent(torch.cat([s.logits for s in supervision]), device)
    deltas = sent(torch.cat([s.deltas for s in supervision]), device)
    soft = kl_divergence(seen.logits, logits, temperature) + box_agreement(seen, logits, deltas)
    return (1 - soft_share) * hard.loss + soft_share * soft


def region_entropy(model: FasterRCNN, images: list[Tensor]) -> Tensor:
    """Mean entropy of class probabilities, background among them, over the likeliest regions that a detector proposes.

    Args:
        model: detector in training mode.
        images: (3, H, W) float images in 0..1.

    Returns:
        Nats, with gradient.
    """
    batch = inputs_of(model.transform, images)
    features = model.backbone(batch.tensors)
    boxes, real = propose(model.rpn, score_anchors(model, batch, features), batch.image_sizes, REGIONS)
    output = run_box_head(model, features, list(boxes.unbind()), batch.image_sizes)
    unsure, counts = entropy(output.logits.softmax(-1)), real.flatten()
    return (unsure * counts).sum() / counts.sum().clamp(min=1)
