"""Label-free trigger: what a terminal can tell of its own accuracy, and whether it requests evolution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tf

from nestevo_hw.base.ranges import MOST_FRAMES, Range
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.tasks.predictions import Prediction, mirrored_prediction, pseudo_labels
from nestevo_hw.tasks.task import VisionTask, headline
from nestevo_hw.wire.signals import BRIGHTER, SURE, Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerConfig:
    """When a terminal requests evolution."""

    mode: Literal["off", "watch", "request"] = "watch"
    """off; watch: estimate and report, but evolve in every window; request: evolve only where accuracy seems lost."""
    margin: Annotated[float, Range(0, 0.99)] = 0.1
    """Share of its accuracy that must seem lost before a terminal requests evolution."""
    frames: Annotated[int, Range(2, MOST_FRAMES)] = 32
    """Frames it estimates its accuracy on."""


def sense_accuracy(task: VisionTask, model: nn.Module, images: Tensor, classes: int) -> Signals:
    """Signals of a terminal's model on its own frames; needs no label and no other model.

    The changed view is brighter, and mirrored where the task allows it.

    Args:
        task: of the model.
        model: in eval mode.
        images: (N, 3, H, W) uint8.
        classes: number of object classes.
    """
    plain = task.predict(model, images)
    scores = torch.cat([p["scores"] for p in plain])
    total = float(scores.sum())
    confidence = float((scores**2).sum()) / total if total > 0 else 0.0
    return Signals(agreement=self_agreement(task, model, images, plain, classes), confidence=confidence)


def self_agreement(
    task: VisionTask, model: nn.Module, images: Tensor, plain: Sequence[Prediction], classes: int
) -> float:
    """Agreement of `Signals`, from a model's predictions `plain` on the frames as they are; 0 where it is sure of none.

    Args:
        task: of the model.
        model: in eval mode.
        images: (N, 3, H, W) uint8.
        plain: one a frame.
        classes: number of object classes.
    """
    believed = [pseudo_labels(p, SURE, SURE) for p in plain]
    view = tf.adjust_brightness(images, BRIGHTER)
    changed = task.predict(model, view.flip(-1) if task.augmentation.flip else view)
    if task.augmentation.flip:
        changed = [mirrored_prediction(p, images.shape[-1]) for p in changed]
    agreement = headline(task.score(changed, believed, classes))
    return 0.0 if math.isnan(agreement) else agreement


def thinned(images: Tensor, frames: int) -> Tensor:
    """At most `frames` of (N, 3, H, W) frames, evenly."""
    return images[evenly(range(len(images)), frames)]
