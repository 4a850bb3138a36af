"""Photometric augmentation and flips for training, of whole batches."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nestevo_hw.base.transfer import sent
from nestevo_hw.streams.frame import Annotation

_LUMINANCE = (0.2989, 0.587, 0.114)
"""Of red, green and blue, as torchvision has it (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far one training image may be changed; every draw is uniform."""

    brightness: float = 0.0
    """Factor within 1 - b to 1 + b."""
    contrast: float = 0.0
    saturation: float = 0.0
    flip: bool = True
    """Mirror half of the images."""

    @property
    def photometric(self) -> dict[str, float]:
        """What changes colours, and how far, in the order in which it does."""
        every = {"brightness": self.brightness, "contrast": self.contrast, "saturation": self.saturation}
        return {name: most for name, most in every.items() if most}


MILD = Augmentation(brightness=0.2, contrast=0.2, saturation=0.2)


def drawn_flips(count: int, how: Augmentation, generator: torch.Generator) -> tuple[bool, ...]:
    """Which of some images are mirrored."""
    return tuple((torch.rand(count, generator=generator) < 0.5).tolist()) if how.flip else (False,) * count


def augment(images: Tensor, how: Augmentation, generator: torch.Generator, *, flips: tuple[bool, ...]) -> Tensor:
    """Augmented (N, 3, H, W) float images in 0..1 of float images in 0..1, each changed in its own way.

    Args:
        images: on any device.
        how: how far they may be changed.
        generator: of the factors, on the CPU.
        flips: which images are mirrored.
    """
    most = how.photometric
    lots = torch.rand(len(images), len(most), generator=generator, dtype=torch.float32).double()
    factors = [1 - b + ((1 + b) - (1 - b)) * lot for b, lot in zip(most.values(), lots.unbind(1), strict=True)]
    mirrored_too = torch.tensor(flips, dtype=torch.float64)
    columns = sent(torch.stack([*factors, *(1 - f for f in factors), mirrored_too]).float(), images.device)
    shares = dict(zip(most, columns[:, :, None, None, None], strict=False))
    rests = dict(zip(most, columns[len(most) :, :, None, None, None], strict=False))
    if "brightness" in shares:
        images = (images * shares["brightness"]).clamp_(0, 1)
    if "contrast" in shares:
        mean = _grey(images).mean((1, 2, 3), keepdim=True)
        images = torch.addcmul(images * shares["contrast"], mean, rests["contrast"]).clamp_(0, 1)
    if "saturation" in shares:
        images = torch.addcmul(images * shares["saturation"], _grey(images), rests["saturation"]).clamp_(0, 1)
    if any(flips):
        images = torch.where(columns[-1, :, None, None, None] > 0, images.flip(-1), images)
    return images


def _grey(images: Tensor) -> Tensor:
    """(N, 1, H, W) luminance."""
    red, green, blue = images.split(1, 1)
    grey: Tensor = red * _LUMINANCE[0]
    return grey.add_(green, alpha=_LUMINANCE[1]).add_(blue, alpha=_LUMINANCE[2])


def mirrored_boxes(boxes: Tensor, width: int) -> Tensor:
    """(N, 4) boxes of a frame after it is mirrored left to right."""
    return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def mirrored(annotation: Annotation, width: int) -> Annotation:
    """Annotation of a frame after it is mirrored left to right."""
    return replace(annotation, boxes=mirrored_boxes(annotation.boxes, width))
