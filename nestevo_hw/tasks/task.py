"""What the evolution loop asks of a task: to label, to learn, to score. The loop never asks which task it has."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.profiler.vector import StepTask
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.digits import Role
from nestevo_hw.streams.frame import Annotation, Stream
from nestevo_hw.streams.weather import DriftScript
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainView
from nestevo_hw.tasks.classification import Classification
from nestevo_hw.tasks.detection_task import Detection
from nestevo_hw.tasks.ensemble import Round
from nestevo_hw.tasks.metrics import Prediction
from nestevo_hw.tasks.pseudo_labels import RefinementConfig
from nestevo_hw.tasks.supervision import LabelConfig, Supervision


class Predictor(Protocol):
    """A model outside of torch."""

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Predictions of (N, 3, H, W) uint8 frames."""
        ...


class VisionTask(Protocol):
    """Verbs of one task, all on frames with `Annotation`s: an image's class is one object that fills its frame.

    Images are (N, 3, H, W) uint8, and lists of (3, H, W) floats in 0..1 in losses. Models are in eval mode to label,
    predict and re-estimate, in training mode for losses.
    """

    name: str
    metric: str
    """Name of the headline score."""
    augmentation: Augmentation
    """What may be done to a training frame without changing what it shows."""
    shipped_steps: tuple[int, int]
    """Optimiser steps with which the shipped teacher and its terminals were pre-trained."""
    embedded_fps: float
    """Frames a second of `embedded_stream`."""
    first_logit: int
    """Index of class 1 among the logits of `prediction_module`."""

    def embedded_stream(
        self,
        *,
        name: str,
        place: str,
        seed: int,
        size: tuple[int, int],
        drift: DriftScript | None = None,
        role: Role = "terminal",
    ) -> Stream:
        """An endless stream that needs no files; what streams of one role show, those of another never do."""
        ...

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """Words of a teacher on each frame."""
        ...

    def refined(
        self,
        models: Sequence[nn.Module],
        images: Tensor,
        config: LabelConfig,
        refinement: RefinementConfig,
        *,
        spacing_s: float,
        earlier: Round | None = None,
    ) -> Round:
        """Words that several views, models and neighbouring frames agree on.

        Args:
            models: the teacher, then further models of the same classes, all with the scene's BatchNorm statistics.
            images: frames of one camera in order of time.
            config: thresholds where nothing confirms the teacher.
            refinement: what confirms it.
            spacing_s: seconds between two frames.
            earlier: round before, whose views and soft targets count as well.
        """
        ...

    def supervised_loss(self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]) -> Tensor:
        """Loss against labels; ignored ones teach nothing."""
        ...

    def mutual_losses(
        self,
        terminal: nn.Module,
        intermediate: nn.Module,
        images: list[Tensor],
        annotations: Sequence[Annotation],
        *,
        alpha: float,
        beta: float,
    ) -> tuple[Tensor, Tensor]:
        """Losses of terminal and intermediate model that learn from labels and each other (paper eq. 14, 15)."""
        ...

    def distillation_loss(
        self,
        student: nn.Module,
        images: list[Tensor],
        words: Sequence[Supervision],
        *,
        temperature: float,
        soft_share: float,
    ) -> Tensor:
        """Loss against a teacher's words: labels and soft targets."""
        ...

    def domain_classifiers(self, model: nn.Module, config: AdversarialConfig) -> DomainClassifiers:
        """Fresh domain classifiers that fit a model's features."""
        ...

    def familiar_view(
        self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]
    ) -> tuple[Tensor, DomainView]:
        """Supervised loss on labelled frames, and what domain classifiers see of them."""
        ...

    def drifted_view(self, model: nn.Module, images: list[Tensor]) -> DomainView:
        """What domain classifiers see of unlabelled frames."""
        ...

    def smaller_input(self, models: Sequence[nn.Module], factor: float) -> AbstractContextManager[None]:
        """Models take frames made smaller by a factor as they are, for the time of a block."""
        ...

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """Boxes, labels and scores of each frame, on the CPU."""
        ...

    def score(self, predictions: Sequence[Prediction], truth: Sequence[Annotation], classes: int) -> dict[str, float]:
        """Scores by metric, 0 to 1, the headline first; NaN where there is nothing to find."""
        ...

    def prediction_module(self, model: nn.Module) -> nn.Module:
        """From (N, D) features to logits: theta_p of Algorithm 1."""
        ...

    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """Replace a model's BatchNorm statistics by those of frames, in place."""
        ...

    def fake_step(
        self, models: Sequence[nn.Module], *, frame_size: tuple[int, int], batch_size: int, soft_regions: int
    ) -> StepTask | None:
        """One training step without arithmetic, for a stored profile to predict from; None where there is no such run.

        Args:
            models: terminal, or terminal and intermediate model that learn from one another.
            frame_size: (H, W), pixels.
            batch_size: frames a step.
            soft_regions: regions a frame that carry soft targets.
        """
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


TASKS: dict[str, VisionTask] = {task.name: task for task in (Detection(), Classification())}


def task_named(name: str) -> VisionTask:
    """The task of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TASKS:
        raise ConfigError(f"unknown task {name!r}; choose from {', '.join(TASKS)}")
    return TASKS[name]


def headline(scores: Mapping[str, float]) -> float:
    """The score by which a task is judged."""
    return next(iter(scores.values()))
