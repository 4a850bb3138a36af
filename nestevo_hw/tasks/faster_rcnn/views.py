"""What an ensemble of detectors sees of a fixed camera's frames: test-time augmentation."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.models.batch_norm import kept_batch_norm
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.tasks.confirmation import ENLARGED_STATISTICS, ConfirmationConfig, View
from nestevo_hw.tasks.faster_rcnn.labelling import predict, re_estimate
from nestevo_hw.tasks.predictions import mirrored_prediction


def other_views(models: Sequence[FasterRCNN], images: Tensor, confirmation: ConfirmationConfig) -> list[View]:
    """Detections of each member of an ensemble, but for those of the first one on the frames as they are.

    With test-time augmentation those of the first one's architecture, others once: one view of a pruned member, so that
    a terminal does not outvote its teacher.

    Args:
        models: as for `confirm_labels`.
        images: (N, 3, H, W) uint8.
        confirmation: says which views.
    """
    size = sum(p.numel() for p in models[0].parameters())
    views = changed_views(models[0], images, confirmation)
    for member in models[1:] if confirmation.ensemble else ():
        alike = sum(p.numel() for p in member.parameters()) == size
        views += [predict(member, images), *(changed_views(member, images, confirmation) if alike else ())]
    return views


def changed_views(model: FasterRCNN, images: Tensor, confirmation: ConfirmationConfig) -> list[View]:
    """Test-time augmentation: detections on changed frames, frame by frame in pixels of the plain frames.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8.
        confirmation: says which views.
    """
    views: list[View] = []
    if confirmation.mirror:
        views.append([mirrored_prediction(p, images.shape[-1]) for p in predict(model, images.flip(-1))])
    if confirmation.zoom > 1.0:
        with enlarged(model, images, confirmation.zoom):
            views.append(predict(model, images))
    return views


@contextmanager
def enlarged(model: FasterRCNN, images: Tensor, factor: float) -> Iterator[None]:
    """A detector that enlarges its input, with BatchNorm statistics of enlarged frames; both are undone afterwards.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8 frames; `ENLARGED_STATISTICS` of them, evenly, give the statistics.
        factor: of the network's input size.
    """
    with scaled_input([model], factor), kept_batch_norm(model):
        re_estimate(model, images[evenly(range(len(images)), ENLARGED_STATISTICS)])
        yield


@contextmanager
def scaled_input(models: Sequence[FasterRCNN], factor: float) -> Iterator[None]:
    """Detectors whose input has its size times a factor, until the block ends."""
    transforms = [model.transform for model in models]
    sizes = [(t.min_size, t.max_size) for t in transforms]
    for transform, (least, most) in zip(transforms, sizes, strict=True):
        transform.min_size = tuple(round(factor * side) for side in least)
        transform.max_size = round(factor * most)
    try:
        yield
    finally:
        for transform, size in zip(transforms, sizes, strict=True):
            transform.min_size, transform.max_size = size
