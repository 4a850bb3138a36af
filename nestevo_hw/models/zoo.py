"""Models by name: shipped ones, torchvision's with random or given weights, and the user's own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.plugins import called, imported
from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.base.tensors import read_header, read_tensors
from nestevo_hw.models.checkpoint import BUILDERS, FORMATS, PRETRAINED, pretrained_path
from nestevo_hw.models.checkpoint import load_model as load_checkpoint
from nestevo_hw.models.classifier import SmallClassifier, small_classifier
from nestevo_hw.models.onnx.imported import ImportedDetector, ImportedModel, import_onnx

Task = Literal["detection", "classification"]

_CLASSIFIERS: dict[str, Callable[[int], nn.Module]] = {
    "digits-cnn": lambda classes: small_classifier(classes + 1),
    "resnet18": lambda classes: resnet18(num_classes=classes),
}
"""By number of classes, which have no background here."""
_DEFAULT_CLASSES = {
    "fasterrcnn-tiny": 4,
    "fasterrcnn-resnet50-fpn": 11,
    "fasterrcnn-mobilenet-v3": 11,
    "digits-cnn": 10,
    "resnet18": 1000,
}
"""Classes of a model with random weights; a detector's include background (BDD100K has 10 objects)."""
_HEADS = ("roi_heads.box_predictor.cls_score.weight", "fc.weight", "head.weight")
"""Where the number of classes shows in a state dict."""
RANDOM_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A model and what is known about it."""

    name: str
    model: nn.Module
    """In eval mode."""
    origin: str
    """Where the weights come from, for people to read."""
    trained: bool
    """False for random weights: accuracy means nothing then, only agreement with the digital model."""

    @property
    def task(self) -> Task:
        """What the model does, by what it takes."""
        return task_of(self.model)


def names() -> tuple[str, ...]:
    """Every name that `load_model` knows, beside `package.module:factory`."""
    shipped = (name for name in PRETRAINED if name not in BUILDERS and pretrained_path(name).is_file())
    return tuple(dict.fromkeys((*BUILDERS, *shipped, *_CLASSIFIERS)))


def load_model(name: str, *, weights: Path | None = None, num_classes: int | None = None) -> nn.Module:
    """The model of `open_model` alone."""
    return open_model(name, weights=weights, num_classes=num_classes).model


def open_model(name: str, *, weights: Path | None = None, num_classes: int | None = None) -> ZooModel:
    """A model by name, in eval mode.

    Args:
        name: one of `names`, the path of a file that ends in .onnx, or `package.module:factory` for a function of
            your own that returns a module; it is called with `num_classes` only if that is given.
        weights: safetensors file with the model's state dict, or a checkpoint of this program.
            Without it, the weights that ship with the package, else random ones from a fixed seed.
        num_classes: classes of a model that is not shipped; a detector's include background. Without it,
            the number found in `weights`, else a default.

    Raises:
        ConfigError: no such model, or a factory that cannot be called.
        InputError: the weights are missing, corrupt, NaN or of other shapes.
    """
    if name.lower().endswith(".onnx"):
        if weights is not None:
            raise ConfigError(f"{name} brings its own weights; leave --weights out")
        return _ready(name, import_onnx(Path(name)), f"weights of {name}", trained=True)
    if ":" in name:
        model, origin, trained = _from_factory(name, num_classes), "made by the factory", True
    elif name not in names():
        raise ConfigError(
            f"unknown model {name!r}; choose from {', '.join(names())}, "
            "or give a file that ends in .onnx or package.module:factory"
        )
    elif weights is None and num_classes is None and name in PRETRAINED and pretrained_path(name).is_file():
        return _ready(
            name, load_checkpoint(pretrained_path(name))[0], "weights that ship with the package", trained=True
        )
    elif weights is not None and _is_own_checkpoint(weights):
        return _ready(name, _own_checkpoint(name, weights), f"weights of {weights}", trained=True)
    else:
        classes = num_classes or _classes_in(weights) or _DEFAULT_CLASSES.get(name)
        model = _random(name, classes)
        origin, trained = f"random weights from seed {RANDOM_SEED}", False
    if weights is not None:
        _load_state(model, weights)
        origin, trained = f"weights of {weights}", True
    return _ready(name, model, origin, trained=trained)


def task_of(model: nn.Module) -> Task:
    """Detection for torchvision's detectors and their ONNX files, which take a list of images; else classification."""
    takes_list = isinstance(getattr(model, "transform", None), GeneralizedRCNNTransform)
    return "detection" if takes_list or isinstance(model, ImportedDetector) else "classification"


def example_inputs(
    model: nn.Module, *, count: int = 4, seed: int = 0, size: tuple[int, int] | None = None
) -> Tensor | list[Tensor]:
    """One batch of made-up images with a natural spectrum, for models without frames of their own.

    Args:
        model: decides between a list of images (detectors) and one tensor.
        count: number of images.
        seed: of the images.
        size: (H, W) in pixels; default: the model's own input size, a detector's at most 320 px, digits' 32 px,
            or 64 px.

    Returns:
        What `model(batch)` takes, values in 0..1, or 0..255 for an ONNX file that takes those.
    """
    transform = getattr(model, "transform", None)
    if isinstance(transform, GeneralizedRCNNTransform):
        side = min(320, *transform.min_size)
        return list(_pink_images(count, size or (side, side * 5 // 4), seed).unbind(0))
    if isinstance(model, ImportedModel):
        default = (320, 400) if isinstance(model, ImportedDetector) else (64, 64)
        taken = model.image_input
        images = _pink_images(count, size or model.input_size or default, seed, channels=taken.channels) * taken.white
        return list(images.unbind(0)) if isinstance(model, ImportedDetector) else images
    return _pink_images(count, size or ((32, 32) if isinstance(model, SmallClassifier) else (64, 64)), seed)


def _pink_images(count: int, size: tuple[int, int], seed: int, *, channels: int = 3) -> Tensor:
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


def _ready(name: str, model: nn.Module, origin: str, *, trained: bool) -> ZooModel:
    return ZooModel(name=name, model=model.eval(), origin=origin, trained=trained)


def _random(name: str, classes: int | None) -> nn.Module:
    if classes is None or (name not in BUILDERS and name not in _CLASSIFIERS):
        raise ConfigError(f"{name} ships with its own classes; leave num_classes out")
    if classes < 1:
        raise ConfigError(f"need 1 class or more, got {classes}")
    with seeded(RANDOM_SEED, "zoo", name):
        return _CLASSIFIERS[name](classes) if name in _CLASSIFIERS else BUILDERS[name](classes)


def _from_factory(name: str, num_classes: int | None) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    factory = imported(module_name, attribute)
    with seeded(RANDOM_SEED, "zoo", name):
        model = called(factory, name, {} if num_classes is None else {"num_classes": num_classes})
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{name} returned {type(model).__name__}, expected a torch.nn.Module")
    return model


def _is_own_checkpoint(path: Path) -> bool:
    return read_header(path).get("format") in FORMATS


def _own_checkpoint(name: str, path: Path) -> nn.Module:
    model, spec = load_checkpoint(path)
    if not name.startswith(spec.architecture):
        raise InputError(f"{path} holds a {spec.architecture}, not a {name}")
    return model


def _classes_in(weights: Path | None) -> int | None:
    if weights is None:
        return None
    state = read_tensors(weights)[1]
    return next((state[key].shape[0] for key in _HEADS if key in state), None)


def _load_state(model: nn.Module, path: Path) -> None:
    """Load a bare state dict of exactly the model's keys and shapes."""
    state, own = read_tensors(path)[1], model.state_dict()
    for key, tensor in own.items():
        if key not in state:
            raise InputError(f"{path}: tensor {key} is missing; the file belongs to another model")
        if state[key].shape != tensor.shape:
            raise InputError(f"{path}: {key} expected shape {tuple(tensor.shape)} but got {tuple(state[key].shape)}")
        if state[key].is_floating_point() and not bool(torch.isfinite(state[key]).all()):
            raise InputError(f"{path}: {key} holds NaN or infinite values; train the model again")
    left_over = sorted(set(state) - set(own))
    if left_over:
        raise InputError(f"{path}: unexpected tensor {left_over[0]}; the file belongs to another model")
    model.load_state_dict(state)
