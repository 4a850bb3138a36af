"""What a model takes, seen from its layers, and made-up inputs of that kind."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.plugins import FAULTS
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.models.classifier import SmallClassifier
from nestevo_hw.models.onnx.imported import ImportedDetector, ImportedModel

Size = tuple[int, int]
"""(H, W) in pixels."""
_SIDES = (64, 224, 28, 32, 299)
"""Of square images that a model is tried with, the usual ones first."""


def is_detector(model: nn.Module) -> bool:
    """Whether it is one of torchvision's detectors, perhaps within a module of the user's, or an ONNX file of one."""
    return isinstance(model, ImportedDetector) or any(isinstance(m, GeneralizedRCNNTransform) for m in model.modules())


def channels_of(model: nn.Module) -> int | None:
    """Channels of the images that a model takes; None if its first layer with weights is no convolution."""
    if isinstance(model, ImportedModel):
        return model.image_input.channels if len(model.image_input.one) == 3 else None
    first = _first_layer(model)
    return first.in_channels if isinstance(first, nn.Conv2d) else None


def features_of(model: nn.Module) -> int | None:
    """Length of the vectors that a model takes; None if it takes images or what cannot be seen."""
    if isinstance(model, ImportedModel):
        match model.image_input.one:
            case (int(length),):
                return length
        return None
    first = _first_layer(model)
    return first.in_features if isinstance(first, nn.Linear) else None


def example_inputs(
    model: nn.Module, *, count: int = 4, seed: int = 0, size: Size | None = None, channels: int | None = None
) -> Tensor | list[Tensor]:
    """One batch of made-up inputs, for models without data of their own.

    Args:
        model: decides between a list of images (detectors), one tensor of images and one of vectors.
        count: number of inputs.
        seed: of the inputs.
        size: (H, W) in pixels; default: the model's own input size, a detector's at most 320 px, digits' 32 px,
            or 64 px.
        channels: of the images; default: what the model's first layer takes, or 3.

    Returns:
        What `model(batch)` takes: images with a natural spectrum, values in 0..1, or 0..255 for an ONNX file that
        takes those; of a model that takes vectors normally distributed ones.

    Raises:
        InputError: an ONNX file with several inputs, which nobody can make up.
    """
    if isinstance(model, ImportedModel) and len(model.inputs) > 1:
        names = ", ".join(entry.name for entry in model.inputs)
        raise InputError(f"it takes {len(model.inputs)} inputs, {names}, which cannot be made up; give --data")
    length = features_of(model)
    if length is not None and channels is None and size is None:
        return torch.randn(count, length, generator=torch_generator(seed, "example-vectors"))
    channels = channels or channels_of(model) or 3
    size = size or _usual_size(model)
    images = _pink_images(count, size, seed, channels=channels)
    if isinstance(model, ImportedModel):
        images = images * model.image_input.white
    return list(images.unbind(0)) if is_detector(model) else images


def fitting_size(model: nn.Module, channels: int | None = None) -> Size | None:
    """The size of made-up images that a model runs on: its usual one, else the first of some others.

    Returns:
        None for the usual one, and where no size helps.
    """
    if is_detector(model) or isinstance(model, ImportedModel) or features_of(model) is not None:
        return None
    if _runs(model, None, channels):
        return None
    return next(((side, side) for side in _SIDES if _runs(model, (side, side), channels)), None)


@torch.no_grad()
def _runs(model: nn.Module, size: Size | None, channels: int | None) -> bool:
    try:
        model(example_inputs(model, count=2, size=size, channels=channels))
    except NestEvoError:
        raise
    except FAULTS:  # whatever somebody's code comes to says that this is no size for it
        return False
    return True


def _usual_size(model: nn.Module) -> Size:
    transform = getattr(model, "transform", None)
    if not isinstance(transform, GeneralizedRCNNTransform):
        transform = next((m for m in model.modules() if isinstance(m, GeneralizedRCNNTransform)), None)
    if transform is not None:
        side = min(320, *transform.min_size)
        return side, side * 5 // 4
    if isinstance(model, ImportedModel):
        return model.input_size or ((320, 400) if isinstance(model, ImportedDetector) else (64, 64))
    match getattr(model, "image_size", None):  # as torchvision's vision transformers say it
        case int(side):
            return side, side
        case (int(height), int(width)):
            return height, width
    return (32, 32) if isinstance(model, SmallClassifier) else (64, 64)


def _first_layer(model: nn.Module) -> nn.Module | None:
    kinds = (nn.Linear, nn.Embedding, nn.modules.conv._ConvNd, nn.RNNBase)
    return next((module for module in model.modules() if isinstance(module, kinds)), None)


def _pink_images(count: int, size: Size, seed: int, *, channels: int = 3) -> Tensor:
    """(count, channels, H, W) in 0..1: octaves of noise whose amplitude falls with frequency, as in photographs."""
    generator = torch_generator(seed, "example-images")
    image = torch.zeros(count, channels, *size)
    cells = 2
    while cells <= min(size):
        octave = torch.randn(count, channels, cells, cells, generator=generator)
        image += F.interpolate(octave, size, mode="bilinear", align_corners=False) / cells
        cells *= 2
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    return (image - low) / (high - low).clamp(min=1e-6)
