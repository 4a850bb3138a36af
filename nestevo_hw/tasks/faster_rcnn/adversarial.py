"""Features of a Faster R-CNN for domain classifiers, and its loss on labelled frames of the source domain."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.models.faster_rcnn import box_feature_width
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainFeatures
from nestevo_hw.tasks.faster_rcnn.losses import supervised_pass
from nestevo_hw.tasks.faster_rcnn.regions import prepare, propose, run_box_head, targets_of

REGIONS = 32
"""Proposals of a frame of the target domain whose features the region classifier sees."""


def detection_domain_classifiers(model: FasterRCNN, config: AdversarialConfig) -> DomainClassifiers:
    """Classifiers that fit a detector's feature maps and regions."""
    return DomainClassifiers(model.backbone.out_channels, box_feature_width(model), config)


def source_features(
    model: FasterRCNN, images: list[Tensor], annotations: Sequence[Annotation]
) -> tuple[Tensor, DomainFeatures]:
    """Detection loss on labelled frames, and their features.

    Args:
        model: detector in training mode.
        images: (3, H, W) float images in 0..1.
        annotations: one an image.
    """
    done = supervised_pass(model, images, annotations)
    regions = done.output.features.split([len(b) for b in done.regions.boxes])
    return done.loss, DomainFeatures(maps=list(done.features.values()), regions=regions)


def target_features(model: FasterRCNN, images: list[Tensor]) -> DomainFeatures:
    """Features of unlabelled frames: (3, H, W) float images in 0..1."""
    empty = [Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))] * len(images)
    batch, targets = prepare(model, images, targets_of(empty, images[0].device))
    features = model.backbone(batch.tensors)
    proposals = [p[:REGIONS] for p in propose(model, batch, features, targets)[0]]
    output = run_box_head(model, features, proposals, batch.image_sizes)
    return DomainFeatures(maps=list(features.values()), regions=output.features.split([len(p) for p in proposals]))
