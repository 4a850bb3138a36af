"""What a task may be able to do beyond `VisionTask`.

A task has a capability by having its methods; one that names the protocol among its bases has them checked. A method or
a setting that needs one asks with `require`, which refuses tasks without it.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.onnx.frames import FrameModel
from nestevo_hw.streams.frame import Annotation, Role, Stream
from nestevo_hw.streams.weather import DriftScript
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainFeatures
from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound
from nestevo_hw.tasks.supervision import LabelConfig
from nestevo_hw.tasks.task import VisionTask


@runtime_checkable
class EmbeddedStreams(Protocol):
    """Streams that need no files."""

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
        """An endless stream that needs no files.

        Where each role has a seed of its own, no frame of one role is shown in another.
        """
        ...


@runtime_checkable
class BoxLabels(Protocol):
    """Labels that are boxes of named classes, which any detector can make."""

    finds_boxes: bool


@runtime_checkable
class UnequalStreams(Protocol):
    """Embedded streams that show one class more than the others."""

    def unequal_stream(
        self, *, name: str, place: str, seed: int, size: tuple[int, int], drift: DriftScript | None, skew: float
    ) -> Stream:
        """As `EmbeddedStreams.embedded_stream` of a terminal, with a class drawn for it.

        Args:
            name: of the terminal.
            place: of the scene.
            seed: of everything drawn.
            size: (H, W), pixels.
            drift: conditions over time.
            skew: share of the frames that show the drawn class, above 0 to 1.
        """
        ...


@runtime_checkable
class MutualLearning(Protocol):
    """Terminal and intermediate model learn from one another."""

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
        """Losses of both models (paper eq. 14, 15): `alpha` and `beta` are the labels' shares, the rest is the peer's.

        Each loss reaches its own model only; the peer's prediction is detached.
        """
        ...


@runtime_checkable
class LabelConfirmation(Protocol):
    """Several views, models and neighbouring frames confirm a teacher's labels."""

    subtracts_background: ClassVar[bool]
    """Whether successive frames show the same scene, so that all models may see what moves in it amplified."""

    def teacher_passes(self, confirmation: ConfirmationConfig, frames: int, size: tuple[int, int]) -> int:
        """Forward passes of the teacher that a round of confirmed labels of frames of (H, W) `size` takes.

        Without those for the scene's BatchNorm statistics, which the teacher has when it is opened.
        """
        ...

    def confirmed_labels(
        self,
        models: Sequence[nn.Module],
        images: Tensor,
        labels: LabelConfig,
        confirmation: ConfirmationConfig,
        *,
        spacing_s: float,
        earlier: LabelRound | None = None,
    ) -> LabelRound:
        """Supervision that views, members of the ensemble and neighbouring frames agree on.

        Args:
            models: the ensemble: the teacher, then further models of the same classes, all with the BatchNorm
                statistics of the frames; afterwards they are as before.
            images: frames of one camera in order of time, as all models are to see them.
            labels: thresholds where nothing confirms the teacher.
            confirmation: what confirms it.
            spacing_s: seconds between two frames.
            earlier: round before, whose views and soft targets count as well.
        """
        ...


@runtime_checkable
class AdversarialAdaptation(Protocol):
    """A model adapts to unlabelled frames by domain-adversarial training."""

    def domain_classifiers(self, model: nn.Module, config: AdversarialConfig) -> DomainClassifiers:
        """Fresh domain classifiers that fit a model's features."""
        ...

    def source_features(
        self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]
    ) -> tuple[Tensor, DomainFeatures]:
        """Supervised loss on labelled frames of the source domain, and their features."""
        ...

    def target_features(self, model: nn.Module, images: list[Tensor]) -> DomainFeatures:
        """Features of unlabelled frames of the target domain."""
        ...


@runtime_checkable
class ClassLogits(Protocol):
    """A model sees one class in each frame, so its certainty is about whole frames."""

    def class_logits(self, model: nn.Module, images: list[Tensor]) -> Tensor:
        """(N, C) of each frame, with gradient."""
        ...


@runtime_checkable
class PredictionEntropy(Protocol):
    """How certain a model is can be learned from (entropy minimisation)."""

    def prediction_entropy(self, model: nn.Module, images: list[Tensor]) -> Tensor:
        """Mean entropy of class probabilities over all that is predicted, nats, with gradient.

        Args:
            model: in training mode.
            images: (3, H, W) float images in 0..1.
        """
        ...


@runtime_checkable
class FeatureGeneration(Protocol):
    """A generator learns features of a class from prediction modules (paper Algorithm 1)."""

    first_logit: int
    """Index of class 1 among the logits of `prediction_module`."""

    def prediction_module(self, model: nn.Module) -> nn.Module:
        """From (N, D) features, as in `Supervision.features`, to logits: theta_p of Algorithm 1."""
        ...


@runtime_checkable
class CameraFrames(Protocol):
    """A deployed model takes a camera's frames as they are: bytes, of any size."""

    def frame_model(self, model: nn.Module) -> FrameModel:
        """A model, in eval mode, as a function of frames of its own size that ends with what a camera reports."""
        ...


@runtime_checkable
class SmallerInput(Protocol):
    """Models train on frames that were made smaller (adaptive compression)."""

    def smaller_input(self, models: Sequence[nn.Module], factor: float) -> AbstractContextManager[None]:
        """Models take frames made smaller by a factor as they are, for the time of a block."""
        ...


@runtime_checkable
class ModelCheck(Protocol):
    """A model of the user's own is tried before a run relies on it."""

    def check_model(self, model: nn.Module, classes: int, size: tuple[int, int], name: str) -> None:
        """Refuse a model, in eval mode, that cannot do what the task asks of it.

        Args:
            model: to try.
            classes: that it is to know, without background.
            size: (H, W) of its frames, pixels.
            name: of its factory, for messages.

        Raises:
            InputError: what is wrong with it, in one line.
        """
        ...


@runtime_checkable
class SurrogateLoss(Protocol):
    """A training step can run on fake tensors, from which the profiler predicts its memory and time."""

    def surrogate_loss(self, models: Sequence[nn.Module], images: list[Tensor], *, soft_regions: int) -> Tensor:
        """Summed loss whose shapes do not depend on values, else with the layers and tensors of the real one.

        Args:
            models: one model that learns from labels, or terminal and intermediate model that learn from one another.
            images: (3, H, W) fake float images.
            soft_regions: regions a frame on which a single model also learns a teacher's soft targets; 0 for labels
                alone.
        """
        ...


def require[C](task: VisionTask, capability: type[C], needed_by: str) -> C:
    """The task, known to have a capability.

    Args:
        task: any task.
        capability: one of the protocols of this module.
        needed_by: what cannot do without it, such as "method NestEvo" or "compression.enabled".

    Raises:
        ConfigError: the task has it not.
    """
    if not isinstance(task, capability):
        words = re.sub(r"(?<!^)(?=[A-Z])", " ", capability.__name__).lower()
        raise ConfigError(
            f"task {task.name!r} has no {words}, which {needed_by} needs; choose another method, setting or task"
        )
    return task


def counts_background(task: VisionTask) -> bool:
    """Whether a task's models count background among their classes, as their logits show."""
    return isinstance(task, FeatureGeneration) and task.first_logit > 0


def smaller_input(task: VisionTask, models: Sequence[nn.Module], factor: float) -> AbstractContextManager[None]:
    """`SmallerInput.smaller_input`, which a task without it does not need at a factor of 1.

    Raises:
        ConfigError: another factor, and the task does not have the capability.
    """
    if factor == 1:
        return nullcontext()
    return require(task, SmallerInput, "compression.enabled").smaller_input(models, factor)
