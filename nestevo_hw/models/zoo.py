"""Models by name: shipped ones, torchvision's with random or given weights, and the user's own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn
from torchvision.models import resnet18

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import seeded
from nestevo_hw.models.checkpoint import BUILDERS, is_checkpoint, made_by, pretrained_path, read_spec
from nestevo_hw.models.checkpoint import load_model as load_checkpoint
from nestevo_hw.models.classifier import slim_mobilenet, small_classifier
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.names import PRETRAINED, names
from nestevo_hw.models.onnx.imported import import_onnx
from nestevo_hw.models.state import load_state, read_state

Task = Literal["detection", "classification"]

_CLASSIFIERS: dict[str, Callable[[int], nn.Module]] = {
    "digits-cnn": lambda classes: small_classifier(classes + 1),
    "digits-mobilenet": lambda classes: slim_mobilenet(classes + 1),
    "resnet18": lambda classes: resnet18(num_classes=classes),
}
"""By number of classes, which have no background here."""
_DEFAULT_CLASSES = {
    "fasterrcnn-tiny": 4,
    "fasterrcnn-resnet18-slim": 4,
    "fasterrcnn-resnet30-slim": 4,
    "fasterrcnn-resnet50-fpn": 11,
    "fasterrcnn-mobilenet-v3": 11,
    "digits-cnn": 10,
    "digits-mobilenet": 10,
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
    classes: tuple[str, ...] = ()
    """Names in the order of its outputs, without background, where its checkpoint says them."""

    @property
    def task(self) -> Task:
        """What the model does, by what it takes."""
        return task_of(self.model)


def load_model(name: str, *, weights: Path | None = None, num_classes: int | None = None) -> nn.Module:
    """The model of `open_model` alone."""
    return open_model(name, weights=weights, num_classes=num_classes).model


def open_model(name: str, *, weights: Path | None = None, num_classes: int | None = None) -> ZooModel:
    """A model by name, in eval mode.

    Args:
        name: one of `names`, the path of a file that ends in .onnx, or `package.module:factory` for a function of
            your own that returns a module; it is called with `num_classes` only if that is given.
        weights: file with the model's state dict, safetensors or PyTorch's (.pt, .pth), or a checkpoint of this
            program. Without it, the weights that ship with the package, else random ones from a fixed seed.
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
    if weights is not None and is_checkpoint(weights):
        return _saved(name, weights, f"weights of {weights}", own=True)
    if ":" in name:
        model, origin, trained = _from_factory(name, num_classes), "made by the factory", True
    elif name not in names():
        if (path := Path(name)).suffix == ".safetensors" and path.is_file() and is_checkpoint(path):
            architecture = read_spec(path).architecture
            raise ConfigError(f"{name} is a checkpoint: give {architecture} as the model, and the file by --weights")
        raise ConfigError(
            f"unknown model {name!r}; choose from {', '.join(names())}, "
            "or give a file that ends in .onnx or package.module:factory"
        )
    elif weights is None and num_classes is None and name in PRETRAINED and pretrained_path(name).is_file():
        return _saved(name, pretrained_path(name), "weights that ship with the package")
    else:
        classes = num_classes or _classes_in(weights) or _DEFAULT_CLASSES.get(name)
        model = _random(name, classes)
        origin, trained = f"random weights from seed {RANDOM_SEED}", False
    if weights is not None:
        load_state(model, weights)
        origin, trained = f"weights of {weights}", True
    return _ready(name, model, origin, trained=trained)


def task_of(model: nn.Module) -> Task:
    """Detection for torchvision's detectors, also within a module, and their ONNX files; else classification."""
    return "detection" if is_detector(model) else "classification"


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
    with seeded(RANDOM_SEED, "zoo", name):
        return made_by(name, num_classes)


def _saved(name: str, path: Path, origin: str, *, own: bool = False) -> ZooModel:
    """Of a checkpoint, the classes of which need not be those of the model that ships under the name."""
    spec = read_spec(path)
    if own and not (spec.architecture == name if spec.is_own else name.startswith(spec.architecture)):
        raise InputError(f"{path} holds a {spec.architecture}, not a {name}")
    return replace(_ready(name, load_checkpoint(path)[0], origin, trained=True), classes=spec.classes)


def _classes_in(weights: Path | None) -> int | None:
    if weights is None:
        return None
    state = read_state(weights)
    return next((state[key].shape[0] for key in _HEADS if key in state), None)
