"""Image classifiers: the small one that ships, what is known of any, and their ONNX form.

A classifier is any module from (N, 3, H, W) float images in 0..1 to (N, C) logits whose last layer is linear.
"""

import copy
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops.misc import Conv2dNormActivation

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.files import replacing
from nestevo_hw.base.plugins import FAULTS, told
from nestevo_hw.models.onnx.export import any_floats, open_session, write_onnx

FEATURE_WIDTH = 32
"""Width of the feature handed to the last layer: the same in teacher, intermediates and pruned terminals."""


class SmallClassifier(nn.Module):
    """Three convolutions, a feature, class logits: (N, 3, H, W) float images in 0..1 to (N, C)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (3, 16, 32, 64)
        stages = [
            nn.Sequential(nn.Conv2d(i, o, 3, stride=s, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o, s in zip(widths, widths[1:], (1, 2, 2), strict=False)
        ]
        self.body = nn.Sequential(OrderedDict((f"c{k + 1}", stage) for k, stage in enumerate(stages)))
        self.hidden = nn.Linear(16 * widths[-1], 64)
        self.feature = nn.Linear(64, FEATURE_WIDTH)
        self.head = nn.Linear(FEATURE_WIDTH, classes)

    def features(self, images: Tensor) -> Tensor:
        """(N, D) features."""
        pooled = nn.functional.adaptive_avg_pool2d(self.body(images - 0.5), 4).flatten(1)
        found: Tensor = self.feature(self.hidden(pooled).relu()).relu()
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(N, C) logits."""
        logits: Tensor = self.head(self.features(images))
        return logits


def small_classifier(num_classes: int, *, min_size: int = 32, max_size: int = 32) -> SmallClassifier:
    """The classifier for `num_classes` - 1 classes, counted as detectors do, with their background.

    Args:
        num_classes: classes plus one.
        min_size: shorter side of its images; any size works.
        max_size: longer side of its images; any size works.
    """
    del min_size, max_size
    return SmallClassifier(num_classes - 1)


class SlimMobileNet(nn.Module):
    """Ten inverted residuals as in MobileNetV2, a feature, class logits: (N, 3, H, W) floats in 0..1 to (N, C)."""

    STEM, EXPANSION = 16, 4
    STAGES = ((16, 1, 1), (24, 3, 2), (40, 3, 2), (64, 3, 2))
    """Channels, blocks and the stride of the first block."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2dNormActivation(3, self.STEM, activation_layer=nn.ReLU6)]
        channels = self.STEM
        for width, blocks, stride in self.STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, width, 1 if block else stride, self.EXPANSION))
                channels = width
        self.body = nn.Sequential(*layers)
        self.feature = nn.Linear(channels, FEATURE_WIDTH)
        self.head = nn.Linear(FEATURE_WIDTH, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C) logits."""
        pooled = self.body(images - 0.5).mean((2, 3))
        logits: Tensor = self.head(self.feature(pooled).relu())
        return logits


def slim_mobilenet(num_classes: int, *, min_size: int = 32, max_size: int = 32) -> SlimMobileNet:
    """The classifier of ten blocks; arguments as of `small_classifier`."""
    del min_size, max_size
    return SlimMobileNet(num_classes - 1)


def last_layer(model: nn.Module) -> str:
    """Name of the layer that makes a classifier's logits: the last one with a weight (out, in) in the model's order.

    Also of a model on the crossbar, where what stands for a layer has a weight of its shape.

    Raises:
        InputError: there is none.
    """
    found = [name for name, module in model.named_modules() if _is_linear(module)]
    if not found:
        raise InputError(f"a {type(model).__name__} has no linear layer to make logits; end it with an nn.Linear")
    last: str = found[-1]
    return last


def features(model: nn.Module, images: Tensor) -> Tensor:
    """(N, D) what a classifier hands to its last layer, which does not run."""
    head, taken = model.get_submodule(last_layer(model)), list[Tensor]()

    def take(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        taken.append(inputs[0])
        raise _Taken

    with head.register_forward_pre_hook(take), suppress(_Taken):
        model(images)
    return _handed_over(model, taken)


def _handed_over(model: nn.Module, taken: list[Tensor]) -> Tensor:
    if not taken:
        raise InputError(f"a {type(model).__name__} does not use its last linear layer {last_layer(model)}; remove it")
    return taken[0]


def features_and_logits(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) what a classifier hands to its last layer, and its (N, C) logits."""
    head, taken = model.get_submodule(last_layer(model)), list[Tensor]()
    with head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0])):
        logits: Tensor = model(images)
    return _handed_over(model, taken), logits


@torch.no_grad()
def check_classifier(model: nn.Module, classes: int, size: tuple[int, int], name: str) -> None:
    """Try a classifier of the user's own on two grey images.

    Args:
        model: in eval mode.
        classes: that it is to tell apart.
        size: (H, W) of its images.
        name: of its factory, for messages.

    Raises:
        InputError: it fails, returns something else than logits, or these do not come from its last linear layer.
    """
    images = torch.full((2, 3, *size), 0.5)
    try:
        logits, learning = model(images), copy.deepcopy(model).train()(images)
        described = features(model, images)
        again = model.get_submodule(last_layer(model))(described)
    except NestEvoError as error:
        raise InputError(f"{name}: {error}") from error
    except FAULTS as error:  # somebody's code, told as theirs
        raise InputError(f"{name} does not take images (N, 3, {size[0]}, {size[1]}): {told(error)}; correct the "
                         "model") from error  # fmt: skip
    for mode, found in (("in eval mode", logits), ("in training mode", learning)):
        if not isinstance(found, Tensor) or found.shape != (2, classes):
            got = f"{tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise InputError(f"{name}: expected logits (2, {classes}) of two images but got {got} {mode}; correct the "
                             "model")  # fmt: skip
    if described.ndim != 2 or not torch.allclose(logits, again, atol=1e-4):
        raise InputError(f"{name}: its output is not that of its last linear layer {last_layer(model)}; return the "
                         "logits of an nn.Linear, and register that last")  # fmt: skip


def _is_linear(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)


class _Taken(Exception):  # noqa: N818 - ends a forward pass, and is no error
    """The features are known."""


class OnnxClassifier:
    """Logits by ONNX Runtime on the CPU, one image at a time and one thread."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C) logits of (N, 3, H, W) uint8 images."""
        floats = (images.cpu().float() / 255).numpy()
        rows = [self._session.run(["logits"], {"image": np.ascontiguousarray(row[None])})[0] for row in floats]
        return torch.from_numpy(np.concatenate(rows))


def export_classifier(model: nn.Module, path: Path, example: Tensor) -> None:
    """Write a classifier as one ONNX file for single images of the example's size.

    Args:
        model: in eval mode.
        path: file to write, whole or not at all.
        example: (3, H, W) uint8 image the export is checked with.

    Raises:
        NestEvoError: the exported file does not give the model's logits on `example`.
    """
    image, model = example[None].cpu().float() / 255, model.cpu().eval()
    with replacing(path) as temporary:
        with any_floats(model):
            write_onnx(model, (image,), temporary, inputs=("image",), outputs=("logits",))
        with torch.no_grad():
            apart = float((OnnxClassifier(temporary).logits(example[None]) - model(image)).abs().max())
        if not apart < 1e-3:
            raise NestEvoError(f"ONNX export and model differ by {apart:.3g} in the logits of the example image")
