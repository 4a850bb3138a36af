"""What domain classifiers see of a Faster R-CNN, and its loss on familiar frames."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.models.faster_rcnn import box_feature_width
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainView
from nestevo_hw.tasks.detection import look_at, prepare, propose, region_loss, sample_regions, targets_of

REGIONS = 32
"""Proposals of a drifted frame whose features the region classifier sees."""


def detection_domain_classifiers(model: FasterRCNN, config: AdversarialConfig) -> DomainClassifiers:
    """Classifiers that fit a detector's feature maps and regions."""
    return DomainClassifiers(model.backbone.out_channels, box_feature_width(model), config)


def familiar_view(
    model: FasterRCNN, images: list[Tensor], annotations: Sequence[Annotation]
) -> tuple[Tensor, DomainView]:
    """Detection loss on labelled frames, and what the domain classifiers see of them.

    Args:
        model: detector in training mode.
        images: (3, H, W) float images in 0..1.
        annotations: one an image.
    """
    batch, targets = prepare(model, images, targets_of(annotations, images[0].device))
    features = model.backbone(batch.tensors)
    proposals, loss = propose(model, batch, features, targets)
    regions = sample_regions(model, proposals, targets)
    output = look_at(model, features, regions.boxes, batch.image_sizes)
    seen = output.features.split([len(b) for b in regions.boxes])
    return loss + region_loss(output, regions), DomainView(maps=list(features.values()), regions=seen)


def drifted_view(model: FasterRCNN, images: list[Tensor]) -> DomainView:
    """What the domain classifiers see of unlabelled frames: (3, H, W) float images in 0..1."""
    empty = [Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))] * len(images)
    batch, targets = prepare(model, images, targets_of(empty, images[0].device))
    features = model.backbone(batch.tensors)
    proposals = [p[:REGIONS] for p in propose(model, batch, features, targets)[0]]
    output = look_at(model, features, proposals, batch.image_sizes)
    return DomainView(maps=list(features.values()), regions=output.features.split([len(p) for p in proposals]))
