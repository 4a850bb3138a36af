"""Images and labels as Faster R-CNN trains on them: one batch each, resized and padded."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from nestevo_hw.base.transfer import sent
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.targets import Targets, targets_of


def prepare(
    model: FasterRCNN, images: Sequence[Tensor], annotations: Sequence[Annotation]
) -> tuple[ImageList, Targets]:
    """Normalise and resize images to the network's input, boxes and ignore regions with them.

    Args:
        model: whose input it is.
        images: (3, H, W) float images in 0..1.
        annotations: one an image.
    """
    batch = inputs_of(model.transform, images)
    ratios = [
        (width / image.shape[2], height / image.shape[1])
        for image, (height, width) in zip(images, batch.image_sizes, strict=True)
    ]
    return batch, targets_of(annotations, ratios, images[0].device)


def inputs_of(transform: GeneralizedRCNNTransform, images: Sequence[Tensor]) -> ImageList:
    """What `transform` makes of images in training mode, all at once where they have one size, before and after."""
    plain = len(transform.min_size) == 1 and transform.fixed_size is None and not transform._skip_resize
    if not plain or len({image.shape for image in images}) > 1:
        return transform(list(images))[0]
    torch.empty(len(images)).uniform_()  # torchvision draws a size for each; so that later draws are the same
    batch = torch.stack(list(images))
    colours = torch.tensor([transform.image_mean, transform.image_std], dtype=batch.dtype)
    mean, std = sent(colours, batch.device)[..., None, None]
    batch = (batch - mean) / std
    sides = batch.shape[-2:]
    factor = min(transform.min_size[0] / min(sides), transform.max_size / max(sides))
    if factor != 1:
        batch = F.interpolate(batch, scale_factor=factor, mode="bilinear", recompute_scale_factor=True)
    height, width = batch.shape[-2:]
    divisor = transform.size_divisible
    padding = (0, -width % divisor, 0, -height % divisor)
    return ImageList(F.pad(batch, padding) if any(padding) else batch, [(height, width)] * len(images))
