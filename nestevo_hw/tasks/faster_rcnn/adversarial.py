"""Features of a Faster R-CNN for domain classifiers, and its loss on labelled frames of the source domain."""

from collections.abc import Sequence

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.models.faster_rcnn import box_feature_width
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainFeatures
from nestevo_hw.tasks.faster_rcnn.losses import supervised_pass
from nestevo_hw.tasks.faster_rcnn.proposals import propose
from nestevo_hw.tasks.faster_rcnn.regions import REGIONS, run_box_head, score_anchors
from nestevo_hw.tasks.faster_rcnn.targets import inputs_of


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
    regions = done.output.features.split(done.regions.boxes.shape[1])
    maps = list(done.features.values())
    return done.loss, DomainFeatures(maps=maps, regions=regions, real=done.regions.real)


def target_features(model: FasterRCNN, images: list[Tensor]) -> DomainFeatures:
    """Features of unlabelled frames: (3, H, W) float images in 0..1."""
    batch = inputs_of(model.transform, images)
    features = model.backbone(batch.tensors)
    boxes, real = propose(model.rpn, score_anchors(model, batch, features), batch.image_sizes, REGIONS)
    output = run_box_head(model, features, list(boxes.unbind()), batch.image_sizes)
    regions = output.features.split(boxes.shape[1])
    return DomainFeatures(maps=list(features.values()), regions=regions, real=real.flatten())
