"""How a model takes its samples: from options, from what is known of its weights, or from its layers."""

from dataclasses import replace

import torch
import torchvision
from torch import nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.inputs import channels_of
from nestevo_hw.models.onnx.imported import ImportedModel
from nestevo_hw.streams.samples.preprocessing import Pixels, Preprocessing
from nestevo_hw.studies.data.spec import DataSpec


def preprocessing_of(spec: DataSpec, name: str, model: nn.Module, *, detection: bool) -> Preprocessing:
    """What an option says, else what is known of torchvision's weights, else of the model's layers.

    Args:
        spec: the options.
        name: of the model; `torchvision.models:NAME` and `resnet18` have known weights.
        model: decides channels, and how pixels are taken, of an ONNX file.
        detection: whether boxes are scored, which detectors prepare for themselves.

    Raises:
        ConfigError: no such weights.
    """
    channels = spec.channels or channels_of(model)
    known = Preprocessing(channels=channels, converts=spec.channels is not None)
    if isinstance(model, ImportedModel):
        taken = model.image_input
        pixels: Pixels = "uint8" if taken.dtype == torch.uint8 else "255" if taken.white == 255.0 else "unit"
        known = replace(known, size=model.input_size, pixels=pixels)
    usual = None if detection or spec.size is not None else _usual_weights(name)
    if spec.transforms is not None:
        known = _of_weights(known, torchvision_weights(spec.transforms), spec.transforms)
    elif usual is not None:
        known = _of_weights(known, usual, str(usual))
    return replace(
        known, size=spec.size or known.size, resize=known.resize if spec.size is None else spec.resize,
        pixels=spec.pixels or known.pixels, mean=spec.mean or known.mean, std=spec.std or known.std,
    )  # fmt: skip


def torchvision_weights(name: str) -> torchvision.models.WeightsEnum:
    """Weights by their name in torchvision, such as ResNet18_Weights.IMAGENET1K_V1, or the usual ones of a model.

    Raises:
        ConfigError: torchvision knows no such.
    """
    try:
        if "." in name:
            return torchvision.models.get_weight(name)
        return torchvision.models.get_model_weights(name).DEFAULT
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"torchvision has no weights {name!r}; write for example ResNet18_Weights.IMAGENET1K_V1 or resnet18"
        ) from error


def _usual_weights(name: str) -> torchvision.models.WeightsEnum | None:
    """Of a model that is torchvision's own, by the name it is opened with."""
    bare = name.removeprefix("torchvision.models:")
    known = bare in torchvision.models.list_models(module=torchvision.models)
    return torchvision_weights(bare) if known and (bare != name or name == "resnet18") else None


def _of_weights(known: Preprocessing, weights: torchvision.models.WeightsEnum, name: str) -> Preprocessing:
    """Their geometry and numbers; a detector's transforms only make numbers of pixels."""
    preset = weights.transforms()
    crop, resize = getattr(preset, "crop_size", None), getattr(preset, "resize_size", None)
    if crop is None or resize is None:
        return replace(known, origin=f"transforms of {name}")
    side = int(crop[0])
    return replace(
        known, size=(side, side), resize=int(resize[0]), mean=tuple(preset.mean), std=tuple(preset.std),
        bicubic="bicubic" in str(preset.interpolation).lower(), origin=f"transforms of {name}",
    )  # fmt: skip
