"""Object detection as a task of the evolution loop."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.models.onnx.export import OnnxDetector, export_detector
from nestevo_hw.models.onnx.frames import FrameModel, faster_rcnn
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.rendered.place import KNOWN_STYLES
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainFeatures
from nestevo_hw.tasks.boxes import Boxes
from nestevo_hw.tasks.capabilities import (
    AdversarialAdaptation,
    CameraFrames,
    FeatureGeneration,
    LabelConfirmation,
    MutualLearning,
    PredictionEntropy,
    SmallerInput,
    SurrogateLoss,
)
from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound
from nestevo_hw.tasks.faster_rcnn import adversarial, losses, surrogate
from nestevo_hw.tasks.faster_rcnn.confirmation import confirm_labels
from nestevo_hw.tasks.faster_rcnn.labelling import label_frames, predict, re_estimate
from nestevo_hw.tasks.faster_rcnn.views import scaled_input
from nestevo_hw.tasks.supervision import LabelConfig, Supervision
from nestevo_hw.tasks.task import Embedded


class Detection(
    Boxes,
    MutualLearning,
    LabelConfirmation,
    AdversarialAdaptation,
    PredictionEntropy,
    FeatureGeneration,
    CameraFrames,
    SmallerInput,
    SurrogateLoss,
):
    """Faster R-CNN on frames with any number of objects; every capability."""

    name = "detection"
    subtracts_background = True
    embedded = Embedded(
        fps=SyntheticStream.FPS, frame_size=(128, 160), architecture="fasterrcnn-tiny", teacher_steps=3600,
        terminal_steps=600, places=tuple(KNOWN_STYLES),
    )  # fmt: skip
    first_logit = 1

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """See `label_frames`."""
        return label_frames(_detector(model), images, config)

    def teacher_passes(self, confirmation: ConfirmationConfig, frames: int, size: tuple[int, int]) -> int:
        """See `ConfirmationConfig.teacher_passes`."""
        del size
        return round(confirmation.teacher_passes(frames))

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
        """See `confirm_labels`."""
        detectors = [_detector(model) for model in models]
        return confirm_labels(detectors, images, labels, confirmation, spacing_s=spacing_s, earlier=earlier)

    def supervised_loss(self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]) -> Tensor:
        """See `nestevo_hw.tasks.faster_rcnn.losses.supervised_pass`."""
        return losses.supervised_pass(_detector(model), images, annotations).loss

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
        """See `nestevo_hw.tasks.faster_rcnn.losses.mutual_losses`."""
        pair = _detector(terminal), _detector(intermediate)
        return losses.mutual_losses(*pair, images, annotations, alpha=alpha, beta=beta)

    def distillation_loss(
        self,
        student: nn.Module,
        images: list[Tensor],
        supervision: Sequence[Supervision],
        *,
        temperature: float,
        soft_share: float,
    ) -> Tensor:
        """See `nestevo_hw.tasks.faster_rcnn.losses.distillation_loss`."""
        return losses.distillation_loss(
            _detector(student), images, supervision, temperature=temperature, soft_share=soft_share
        )

    def domain_classifiers(self, model: nn.Module, config: AdversarialConfig) -> DomainClassifiers:
        """See `detection_domain_classifiers`."""
        return adversarial.detection_domain_classifiers(_detector(model), config)

    def source_features(
        self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]
    ) -> tuple[Tensor, DomainFeatures]:
        """See `nestevo_hw.tasks.faster_rcnn.adversarial.source_features`."""
        return adversarial.source_features(_detector(model), images, annotations)

    def target_features(self, model: nn.Module, images: list[Tensor]) -> DomainFeatures:
        """See `nestevo_hw.tasks.faster_rcnn.adversarial.target_features`."""
        return adversarial.target_features(_detector(model), images)

    def prediction_entropy(self, model: nn.Module, images: list[Tensor]) -> Tensor:
        """See `losses.region_entropy`."""
        return losses.region_entropy(_detector(model), images)

    def smaller_input(self, models: Sequence[nn.Module], factor: float) -> AbstractContextManager[None]:
        """Torchvision's detectors would scale smaller frames up again, so their input size is lowered."""
        return scaled_input([_detector(model) for model in models], 1 / factor)

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """See `nestevo_hw.tasks.faster_rcnn.labelling.predict`."""
        return predict(_detector(model), images)

    def prediction_module(self, model: nn.Module) -> nn.Module:
        """Class scores of the box predictor."""
        module: nn.Module = _detector(model).roi_heads.box_predictor.cls_score
        return module

    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """Statistics of the backbone's features on these frames."""
        re_estimate(_detector(model), images)

    def surrogate_loss(self, models: Sequence[nn.Module], images: list[Tensor], *, soft_regions: int) -> Tensor:
        """See `nestevo_hw.tasks.faster_rcnn.surrogate`."""
        detectors = [_detector(model) for model in models]
        if len(detectors) == 1:
            return surrogate.detector_loss(detectors[0], images, soft_regions=soft_regions)
        terminal, intermediate = detectors
        return surrogate.mutual_detector_loss(terminal, intermediate, images)

    def inputs(self, images: Tensor) -> list[Tensor]:
        """The list that torchvision's detectors take."""
        return as_list(images)

    def export(self, model: nn.Module, path: Path, example: Tensor) -> None:
        """See `export_detector`."""
        export_detector(_detector(model), path, example)

    def open_exported(self, path: Path) -> OnnxDetector:
        """The detector as ONNX Runtime runs it."""
        return OnnxDetector(path)

    def frame_model(self, model: nn.Module) -> FrameModel:
        """See `faster_rcnn`."""
        return faster_rcnn(_detector(model))


def _detector(model: nn.Module) -> FasterRCNN:
    if not isinstance(model, FasterRCNN):
        raise InputError(
            f"expected a Faster R-CNN but got {type(model).__name__}; "
            'set task = "classification" for image classifiers, or name a detector'
        )
    return model


TASK = Detection()
