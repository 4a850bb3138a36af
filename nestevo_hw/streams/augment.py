"""Photometric augmentation and flips for training."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tf

from nestevo_hw.streams.frame import Annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far one training image may be changed; every draw is uniform."""

    brightness: float = 0.0
    """Factor within 1 - b to 1 + b."""
    contrast: float = 0.0
    saturation: float = 0.0
    flip: bool = True
    """Mirror half of the images."""


MILD = Augmentation(brightness=0.2, contrast=0.2, saturation=0.2)


def augment(image: Tensor, how: Augmentation, generator: torch.Generator, *, flip: bool) -> Tensor:
    """One augmented (3, H, W) float image in 0..1; `flip` mirrors it."""

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    if how.brightness:
        image = tf.adjust_brightness(image, draw(1 - how.brightness, 1 + how.brightness))
    if how.contrast:
        image = tf.adjust_contrast(image, draw(1 - how.contrast, 1 + how.contrast))
    if how.saturation:
        image = tf.adjust_saturation(image, draw(1 - how.saturation, 1 + how.saturation))
    if flip:
        image = image.flip(-1)
    return image.clamp(0, 1)


def mirrored_boxes(boxes: Tensor, width: int) -> Tensor:
    """(N, 4) boxes of a frame after it is mirrored left to right."""
    return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def mirrored(annotation: Annotation, width: int) -> Annotation:
    """Annotation of a frame after it is mirrored left to right."""
    return replace(annotation, boxes=mirrored_boxes(annotation.boxes, width))
