"""A small image classifier with BatchNorm, and its ONNX form."""

import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.base.files import replacing
from nestevo_hw.models.onnx.export import OPSET, open_session

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the same exporter as for detectors, deprecated as it is
            torch.onnx.export(
                model, (image,), str(temporary), dynamo=False, opset_version=OPSET, input_names=["image"],
                output_names=["logits"],
            )  # fmt: skip
        onnx.checker.check_model(str(temporary))
        with torch.no_grad():
            apart = float((OnnxClassifier(temporary).logits(example[None]) - model(image)).abs().max())
        if not apart < 1e-3:
            raise NestEvoError(f"ONNX export and model differ by {apart:.3g} in the logits of the example image")
