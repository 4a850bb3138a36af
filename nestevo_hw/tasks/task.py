"""What the evolution loop asks of every task: to label, to learn, to score. The loop never asks which task it has.

What only some tasks can do is in `nestevo_hw.tasks.capabilities`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.predictions import Prediction
from nestevo_hw.tasks.supervision import LabelConfig, Supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What a task takes where nobody says otherwise: its embedded stream, and how its models are made."""

    fps: float = 1.0
    """Frames a second of the embedded stream, where there is one."""
    frame_size: tuple[int, int]
    """(H, W) on which the models were pre-trained, pixels."""
    architecture: str
    """Of the teacher: a name, or `package.module:factory`. It names the checkpoint, too."""
    teacher_steps: int = 1500
    """Optimiser steps with which the teacher is pre-trained."""
    terminal_steps: int = 400
    """The same of each of its pruned terminals."""
    places: tuple[str, ...] = ()
    """Sceneries of the stream; none where any name makes one."""


class Predictor(Protocol):
    """A model outside of torch."""

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Predictions of (N, 3, H, W) uint8 frames."""
        ...


class Teaching(Protocol):
    """The verbs of a task that concern a teacher: every `VisionTask` has them.

    A teacher that is no model of the task brings its own (`nestevo_hw.tasks.labeller`).
    """

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """See `VisionTask.label`."""
        ...

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """See `VisionTask.predict`."""
        ...

    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """See `VisionTask.re_estimate`."""
        ...

    def inputs(self, images: Tensor) -> object:
        """See `VisionTask.inputs`."""
        ...


class VisionTask(Protocol):
    """Verbs of one task, on frames with `Annotation`s.

    Images are (N, 3, H, W) uint8, and lists of (3, H, W) floats in 0..1 in losses. Models are in eval mode to label,
    predict and re-estimate, in training mode for losses.
    """

    name: str
    """For messages; of a task that ships, one of `nestevo_hw.tasks.names.TASKS`."""
    metric: str
    """Name of the headline score."""
    second_metric: tuple[str, str]
    """Key among the scores, and name, of the stricter score that stands beside it."""
    augmentation: Augmentation
    """What may be done to a training frame without changing what it shows."""
    embedded: Embedded

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """Pseudo-labels and soft targets of a teacher for each frame, on the CPU."""
        ...

    def supervised_loss(self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]) -> Tensor:
        """Loss against labels; ignored ones teach nothing."""
        ...

    def distillation_loss(
        self,
        student: nn.Module,
        images: list[Tensor],
        supervision: Sequence[Supervision],
        *,
        temperature: float,
        soft_share: float,
    ) -> Tensor:
        """Loss against a teacher's pseudo-labels and, with the weight `soft_share` (0 to 1), its soft targets."""
        ...

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """A `Prediction` of each frame, on the CPU."""
        ...

    def score(self, predictions: Sequence[Prediction], truth: Sequence[Annotation], classes: int) -> dict[str, float]:
        """Scores by metric, 0 to 1, the headline first; NaN where there is nothing to find."""
        ...

    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """Replace a model's BatchNorm statistics by those of frames, in place."""
        ...

    def inputs(self, images: Tensor) -> object:
        """Frames as the model's forward takes them."""
        ...

    def export(self, model: nn.Module, path: Path, example: Tensor) -> None:
        """Write a model as ONNX, checked against it on a (3, H, W) frame."""
        ...

    def open_exported(self, path: Path) -> Predictor:
        """What `export` wrote, as ONNX Runtime runs it."""
        ...


def headline(scores: Mapping[str, float]) -> float:
    """The score by which a task is measured: the first one."""
    return next(iter(scores.values()))
