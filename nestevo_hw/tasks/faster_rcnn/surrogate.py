"""Losses of Faster R-CNN whose shapes do not depend on values, so that a training step can run on fake tensors.

Faster R-CNN samples anchors and regions by value, which fake tensors do not have. The surrogates sample a fixed number,
the largest that the model is configured for, and otherwise do what the real losses do: the same layers, and tensors of
the same size that live as long.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers

FOREGROUND_SHARE = 4
"""One region in so many is taken to show an object."""


def detector_loss(model: FasterRCNN, images: list[Tensor], *, soft_regions: int = 0) -> Tensor:
    """Loss of a detector in training mode that learns from labels, and from a teacher's soft targets if any.

    Args:
        model: detector with fake parameters.
        images: (3, H, W) fake float images in 0..1.
        soft_regions: regions a frame that carry soft targets; 0 for labels alone.
    """
    batch = _batch(model, images)
    features = model.backbone(batch.tensors)
    loss = _proposal_loss(model, batch, features)
    regions = _regions(model, batch)
    loss = loss + _region_loss(*_run_box_head(model, features, regions))
    if soft_regions:
        boxes = [_boxes(batch, soft_regions) for _ in images]
        logits, deltas = _run_box_head(model, features, boxes)
        loss = loss + _agreement(logits, deltas, torch.rand_like(logits), torch.rand_like(deltas))
    return loss


def mutual_detector_loss(terminal: FasterRCNN, intermediate: FasterRCNN, images: list[Tensor]) -> Tensor:
    """Summed loss of two detectors that learn from labels and from one another on shared regions.

    Args:
        terminal: pruned detector with fake parameters.
        intermediate: detector of the teacher's architecture with fake parameters.
        images: (3, H, W) fake float images in 0..1.
    """
    batch = _batch(intermediate, images)
    mid_features, local_features = intermediate.backbone(batch.tensors), terminal.backbone(batch.tensors)
    loss = _proposal_loss(intermediate, batch, mid_features) + _proposal_loss(terminal, batch, local_features)
    regions = _regions(intermediate, batch)
    mid, local = _run_box_head(intermediate, mid_features, regions), _run_box_head(terminal, local_features, regions)
    for own, peer in ((local, mid), (mid, local)):
        loss = loss + _region_loss(*own) + _agreement(*own, *(t.detach() for t in peer))
    return loss


def _batch(model: FasterRCNN, images: list[Tensor]) -> ImageList:
    """The model's own transform, but for its choice among several sizes, which is random: the largest is taken."""
    transform = model.transform
    scaled = []
    for image in images:
        sides = image.shape[-2:]
        factor = min(transform.min_size[-1] / min(sides), transform.max_size / max(sides))
        resized = F.interpolate(
            transform.normalize(image)[None], scale_factor=factor, mode="bilinear", recompute_scale_factor=True
        )
        scaled.append(resized[0])
    sizes = [(image.shape[1], image.shape[2]) for image in scaled]
    return ImageList(transform.batch_images(scaled, size_divisible=transform.size_divisible), sizes)


def _proposal_loss(model: FasterRCNN, batch: ImageList, features: dict[str, Tensor]) -> Tensor:
    rpn, levels = model.rpn, list(features.values())
    objectness, deltas = rpn.head(levels)
    anchors = rpn.anchor_generator(batch, levels)
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    proposals = rpn.box_coder.decode(deltas.detach(), anchors)
    chosen = torch.arange(min(len(anchors) * rpn.fg_bg_sampler.batch_size_per_image, len(objectness)))
    offsets = rpn.box_coder.encode([torch.rand_like(a) for a in anchors], anchors)
    target = torch.cat(offsets)[chosen]
    del proposals, offsets
    box = F.smooth_l1_loss(deltas[chosen], target, beta=1 / 9, reduction="sum")
    score = F.binary_cross_entropy_with_logits(objectness[chosen].flatten(), torch.zeros(len(chosen)))
    return box + score


def _boxes(batch: ImageList, count: int) -> Tensor:
    height, width = batch.tensors.shape[-2:]
    return torch.rand(count, 4) * torch.tensor([width, height, width, height])


def _regions(model: FasterRCNN, batch: ImageList) -> list[Tensor]:
    per_image = model.roi_heads.fg_bg_sampler.batch_size_per_image
    return [_boxes(batch, per_image) for _ in batch.image_sizes]


def _run_box_head(model: FasterRCNN, features: dict[str, Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Class logits (R, C) and offsets (R, 4 C) of a box head, with the regions spread over the pyramid's levels."""
    heads = model.roi_heads
    pooler = heads.box_roi_pool
    levels = [features[name] for name in pooler.featmap_names]
    owner = torch.cat([torch.full((len(b), 1), float(i)) for i, b in enumerate(boxes)])
    rois = torch.cat([owner, torch.cat(boxes)], 1)
    pooled = levels[0].new_zeros((len(rois), levels[0].shape[1], *pooler.output_size))
    share = -(-len(rois) // len(levels))
    for number, level in enumerate(levels):
        rows = torch.arange(number * share, min((number + 1) * share, len(rois)))
        seen = torch.ops.torchvision.roi_align(
            level, rois[rows].to(level.dtype), 0.25, *pooler.output_size, pooler.sampling_ratio, False
        )
        pooled[rows] = seen.to(pooled.dtype)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    return logits, deltas


def _region_loss(logits: Tensor, deltas: Tensor) -> Tensor:
    labels = torch.zeros(len(logits), dtype=torch.long)
    rows = torch.arange(len(logits) // FOREGROUND_SHARE)
    own = deltas.reshape(len(deltas), -1, 4)[rows, labels[rows]]
    return F.cross_entropy(logits, labels) + F.smooth_l1_loss(own, torch.zeros_like(own), beta=1 / 9, reduction="sum")


def _agreement(logits: Tensor, deltas: Tensor, peer_logits: Tensor, peer_deltas: Tensor) -> Tensor:
    soft, target = F.log_softmax(logits, -1), F.log_softmax(peer_logits, -1)
    rows = torch.arange(len(logits) // FOREGROUND_SHARE)
    own, theirs = (d.reshape(len(d), -1, 4)[rows, 1] for d in (deltas, peer_deltas))
    loss = F.kl_div(soft, target, log_target=True, reduction="batchmean")
    return loss + F.smooth_l1_loss(own, theirs, beta=1 / 9, reduction="sum")
