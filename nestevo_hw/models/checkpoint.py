"""Detectors and classifiers in and out of safetensors files, pruned ones included."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.learned_ranges import give_ranges
from nestevo_hw.base.names import is_own
from nestevo_hw.base.plugins import call_named
from nestevo_hw.base.ranges import Range
from nestevo_hw.base.tensors import read_header, read_tensors, write_tensors
from nestevo_hw.models.classifier import slim_mobilenet, small_classifier
from nestevo_hw.models.elastic.structure import Blocks
from nestevo_hw.models.faster_rcnn import (
    fasterrcnn_resnet18_slim,
    fasterrcnn_resnet30_slim,
    fasterrcnn_tiny,
    mobilenet_v3,
    resnet50_fpn,
)
from nestevo_hw.models.names import ARCHITECTURES, PRETRAINED
from nestevo_hw.models.state import is_torch_file

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "fasterrcnn-tiny": fasterrcnn_tiny,
    "fasterrcnn-resnet18-slim": fasterrcnn_resnet18_slim,
    "fasterrcnn-resnet30-slim": fasterrcnn_resnet30_slim,
    "fasterrcnn-resnet50-fpn": resnet50_fpn,
    "fasterrcnn-mobilenet-v3": mobilenet_v3,
    "digits-cnn": small_classifier,
    "digits-mobilenet": slim_mobilenet,
}
FORMATS = ("nestevo-hw-model", "nestevo-hw-detector")
"""Of the files this module reads; it writes the first."""


SIDE = Range(16, 4096)
MOST_CLASSES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What is needed to build a model before its weights are loaded."""

    architecture: str
    """A name of `BUILDERS`, or `package.module:factory` of the user's own."""
    classes: tuple[str, ...]
    """Classes without background; label k is classes[k - 1]."""
    min_size: Annotated[int, SIDE]
    """Shorter side of the network's input, pixels."""
    max_size: Annotated[int, SIDE]
    """Longer side of the network's input, pixels."""
    background: bool = False
    """Whether a factory of the user's own counts background among its `num_classes`, as detectors do."""
    blocks: Blocks | None = None
    """Of one path through a supernet; None for the architecture as it is."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.classes) <= MOST_CLASSES:
            raise InputError(f"a model needs 1 to {MOST_CLASSES} classes, got {len(self.classes)}")
        if self.min_size > self.max_size:
            raise InputError(f"a model needs min_size of at most max_size, got {self.min_size} and {self.max_size}")

    @property
    def name(self) -> str:
        """Of the architecture, as a part of file names."""
        return self.architecture.rpartition(":")[2]

    @property
    def is_own(self) -> bool:
        """Whether the model is made by a factory of the user's own."""
        return is_own(self.architecture)

    def build(self) -> nn.Module:
        """A model of this architecture with fresh weights.

        Raises:
            ConfigError: the architecture is unknown, or the user's factory fails or returns no module.
            InputError: it does not have the blocks.
        """
        model = self._architecture()
        if self.blocks is not None:
            self.blocks.put_into(model)
        return model

    def _architecture(self) -> nn.Module:
        if self.is_own:
            return made_by(self.architecture, len(self.classes) + self.background)
        if self.architecture not in BUILDERS:
            raise ConfigError(f"unknown architecture {self.architecture!r}; choose from {', '.join(BUILDERS)}")
        builder = BUILDERS[self.architecture]
        return builder(len(self.classes) + 1, min_size=self.min_size, max_size=self.max_size)


def made_by(factory: str, num_classes: int | None = None) -> nn.Module:
    """What a factory of the user's own makes.

    Args:
        factory: `package.module:factory`.
        num_classes: is handed to it; None: it is called without.

    Raises:
        ConfigError: it cannot be called, fails, or returns no module.
    """
    model = call_named(factory) if num_classes is None else call_named(factory, num_classes=num_classes)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{factory} returned {type(model).__name__}, expected a torch.nn.Module")
    return model


def check_origin(path: Path, factory: str | None, asked: str) -> ModelSpec:
    """The spec of a checkpoint, unless it would have code run that the user has not named.

    Args:
        path: of the checkpoint.
        factory: that was named; None for none.
        asked: where to name one, such as "[model] factory".

    Raises:
        ConfigError: the checkpoint's model is made by another factory.
        InputError: as `read_spec`.
    """
    spec = read_spec(path)
    check_named(spec, path, factory, asked)
    return spec


def check_named(spec: ModelSpec, path: Path, factory: str | None, asked: str) -> None:
    """The same of a spec that has been read already, from whatever kind of file."""
    if spec.is_own and spec.architecture != factory:
        raise ConfigError(
            f'{path} holds a model of {spec.architecture}; its code runs only if {asked} = "{spec.architecture}"'
        )


def save_model(
    model: nn.Module,
    spec: ModelSpec,
    path: Path,
    *,
    notes: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write weights and spec to one safetensors file.

    Args:
        model: built from `spec`, possibly pruned.
        spec: written into the header.
        path: file to write, whole or not at all.
        notes: further header entries, such as the seed of the training.
        half: store weights as float16; BatchNorm statistics stay float32, where float16 would overflow.
    """
    state = {
        name: tensor.half() if half and tensor.is_floating_point() and "running_" not in name else tensor
        for name, tensor in model.state_dict().items()
    }
    write_tensors(path, state, {"format": FORMATS[0], "spec": json_line(plain(spec)), **(notes or {})})


def is_checkpoint(path: Path) -> bool:
    """Whether `save_model` wrote a file, and not somebody else a bare state dict."""
    return not is_torch_file(path) and read_header(path).get("format") in FORMATS


def load_detector(path: Path) -> tuple[FasterRCNN, ModelSpec]:
    """Read a detector, as `load_model` does.

    Raises:
        InputError: as there, or the file holds another kind of model.
    """
    spec = read_spec(path)
    model = None if spec.is_own else load_model(path)[0]
    if not isinstance(model, FasterRCNN):
        raise InputError(f"{path} holds a {spec.architecture}, not a detector; name a Faster R-CNN checkpoint")
    return model, spec


def load_model(path: Path, device: torch.device | None = None) -> tuple[nn.Module, ModelSpec]:
    """Read a model written by `save_model`; pruned layers get the shapes found in the file.

    It knows the input ranges that it learned, if it did (`base.learned_ranges`).

    Args:
        path: of the file.
        device: where it is to compute; the CPU if not given.

    Raises:
        InputError: the file is missing, corrupt, of another program, or holds NaN.
    """
    header, state = read_tensors(path)
    spec = _spec(header, path)
    model = spec.build()
    load_weights(model, {n: t.float() if t.is_floating_point() else t for n, t in state.items()}, source=str(path))
    give_ranges(model, header, path)
    return model.eval().to(device), spec


def read_spec(path: Path) -> ModelSpec:
    """The spec of a model written by `save_model`, from the file's header alone.

    Raises:
        InputError: the file is missing, its header damaged, or of another program.
    """
    return _spec(read_header(path), path)


def _spec(header: Mapping[str, str], path: Path) -> ModelSpec:
    if header.get("format") not in FORMATS:
        raise InputError(
            f"{path} is a safetensors file but not a nestevo-hw model; make one with `nestevo-hw pretrain`"
        )
    advice = "make it again with `nestevo-hw pretrain`"
    return parse_json(header.get("spec", ""), ModelSpec, f"{path}: spec", advice=advice)


def load_weights(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load `state` into `model`, shrinking its layers to the shapes of a pruned state first.

    Raises:
        InputError: a tensor is missing, left over, NaN, or of a shape that pruning cannot give.
    """
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in state:
            raise InputError(f"{source}: tensor {name} is missing; the file belongs to another architecture")
        got = state[name]
        if got.ndim != tensor.ndim or any(g > o for g, o in zip(got.shape, tensor.shape, strict=True)):
            raise InputError(
                f"{source}: {name} expected shape {tuple(tensor.shape)} or smaller but got {tuple(got.shape)}"
            )
        if got.is_floating_point() and not bool(torch.isfinite(got).all()):
            raise InputError(f"{source}: {name} holds NaN or infinite values; train the model again")
    left_over = sorted(set(state) - set(own))
    if left_over:
        raise InputError(f"{source}: unexpected tensor {left_over[0]}; the file belongs to another architecture")
    _shrink(model, state)
    model.load_state_dict(dict(state))


def _shrink(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        for key, tensor in list(module.named_parameters(recurse=False)):
            shape = state[f"{prefix}{key}"].shape
            if shape != tensor.shape:
                setattr(module, key, nn.Parameter(tensor.new_empty(shape), requires_grad=tensor.requires_grad))
        for key, tensor in list(module.named_buffers(recurse=False)):
            full = f"{prefix}{key}"
            if full in state and state[full].shape != tensor.shape:
                setattr(module, key, tensor.new_empty(state[full].shape))
        _tell_widths(module)


def _tell_widths(module: nn.Module) -> None:
    """Have a layer know the shapes of its weights."""
    match module:
        case nn.Conv2d():
            if module.groups == module.in_channels == module.out_channels:
                module.groups = module.weight.shape[0]  # depthwise
            module.out_channels, module.in_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case nn.BatchNorm1d() | nn.BatchNorm2d() if module.affine:
            module.num_features = module.weight.shape[0]
        case nn.LayerNorm() if module.elementwise_affine:
            module.normalized_shape = tuple(module.weight.shape)
        case nn.GroupNorm() if module.affine:
            module.num_channels = module.weight.shape[0]
        case _:
            pass


def pretrained_path(name: str) -> Path:
    """The checkpoint of `name` that ships with the package.

    Raises:
        ConfigError: none ships under this name.
    """
    if name not in PRETRAINED:
        raise ConfigError(f"no pre-trained checkpoint {name!r} ships; choose from {', '.join(PRETRAINED)}")
    return Path(str(resources.files("nestevo_hw") / "data" / f"{name}.safetensors"))


def resolve_checkpoint(name: str) -> Path:
    """The file that a shipped name or a path stands for.

    Raises:
        ConfigError: neither a shipped name nor an existing file.
    """
    if name in PRETRAINED:
        return pretrained_path(name)
    if not Path(name).is_file():
        if name in ARCHITECTURES:
            raise ConfigError(
                f"no weights of {name} ship; make a checkpoint with `nestevo-hw pretrain --model {name}` and give that"
            )
        raise ConfigError(f"no checkpoint {name!r}: not a file, and not one of {', '.join(PRETRAINED)}")
    return Path(name)


def digest(model: nn.Module) -> str:
    """Fingerprint of a model's weights and buffers."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def load_pretrained(name: str) -> FasterRCNN:
    """The detector that ships under `name`, in eval mode."""
    return load_detector(pretrained_path(name))[0]
