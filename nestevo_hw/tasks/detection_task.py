"""Object detection as a task of the evolution loop."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.models.onnx.export import OnnxDetector, export_detector
from nestevo_hw.profiler.vector import StepTask
from nestevo_hw.streams.augment import MILD
from nestevo_hw.streams.digits import Role
from nestevo_hw.streams.frame import Annotation, Stream
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.weather import DriftScript
from nestevo_hw.tasks.adversarial import AdversarialConfig, DomainClassifiers, DomainView
from nestevo_hw.tasks.detection import detection_loss, mutual_losses, predict, re_estimate
from nestevo_hw.tasks.detection_adversarial import detection_domain_classifiers, drifted_view, familiar_view
from nestevo_hw.tasks.detection_teaching import distillation_loss, supervise
from nestevo_hw.tasks.ensemble import Round
from nestevo_hw.tasks.metrics import Prediction, mean_average_precision
from nestevo_hw.tasks.pseudo_labels import RefinementConfig, confirmed_supervision
from nestevo_hw.tasks.supervision import LabelConfig, Supervision


class Detection:
    """Faster R-CNN on frames with any number of objects; see `nestevo_hw.tasks.task.Task`."""

    name = "detection"
    metric = "mAP@0.50"
    augmentation = MILD
    shipped_steps = (3600, 600)
    embedded_fps = SyntheticStream.FPS
    first_logit = 1

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
        """Rendered street scenes; those of another seed are other scenes, whatever the role."""
        del role
        return SyntheticStream(name=name, place=place, seed=seed, size=size, drift=drift)

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """See `supervise`."""
        return supervise(_detector(model), images, config)

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
        """See `confirmed_supervision`."""
        detectors = [_detector(model) for model in models]
        return confirmed_supervision(detectors, images, config, refinement, spacing_s=spacing_s, earlier=earlier)

    def supervised_loss(self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]) -> Tensor:
        """See `detection_loss`."""
        return detection_loss(_detector(model), images, annotations)

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
        """See `nestevo_hw.tasks.detection.mutual_losses`."""
        return mutual_losses(_detector(terminal), _detector(intermediate), images, annotations, alpha=alpha, beta=beta)

    def distillation_loss(
        self,
        student: nn.Module,
        images: list[Tensor],
        words: Sequence[Supervision],
        *,
        temperature: float,
        soft_share: float,
    ) -> Tensor:
        """See `nestevo_hw.tasks.detection_teaching.distillation_loss`."""
        return distillation_loss(_detector(student), images, words, temperature=temperature, soft_share=soft_share)

    def domain_classifiers(self, model: nn.Module, config: AdversarialConfig) -> DomainClassifiers:
        """See `detection_domain_classifiers`."""
        return detection_domain_classifiers(_detector(model), config)

    def familiar_view(
        self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]
    ) -> tuple[Tensor, DomainView]:
        """See `nestevo_hw.tasks.detection_adversarial.familiar_view`."""
        return familiar_view(_detector(model), images, annotations)

    def drifted_view(self, model: nn.Module, images: list[Tensor]) -> DomainView:
        """See `nestevo_hw.tasks.detection_adversarial.drifted_view`."""
        return drifted_view(_detector(model), images)

    @contextmanager
    def smaller_input(self, models: Sequence[nn.Module], factor: float) -> Iterator[None]:
        """Torchvision's detectors would scale smaller frames up again, so their input size is lowered."""
        transforms = [_detector(model).transform for model in models]
        sizes = [(t.min_size, t.max_size) for t in transforms]
        for transform, (least, most) in zip(transforms, sizes, strict=True):
            transform.min_size = tuple(round(side / factor) for side in least)
            transform.max_size = round(most / factor)
        try:
            yield
        finally:
            for transform, size in zip(transforms, sizes, strict=True):
                transform.min_size, transform.max_size = size

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """See `nestevo_hw.tasks.detection.predict`."""
        return predict(_detector(model), images)

    def score(self, predictions: Sequence[Prediction], truth: Sequence[Annotation], classes: int) -> dict[str, float]:
        """COCO mean average precision: map50, map75 and map."""
        found = asdict(mean_average_precision(predictions, truth, classes))
        return {name: found[name] for name in ("map50", "map75", "map")}

    def prediction_module(self, model: nn.Module) -> nn.Module:
        """Class scores of the box predictor."""
        module: nn.Module = _detector(model).roi_heads.box_predictor.cls_score
        return module

    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """Statistics of the backbone's features on these frames."""
        re_estimate(_detector(model), images)

    def fake_step(
        self, models: Sequence[nn.Module], *, frame_size: tuple[int, int], batch_size: int, soft_regions: int
    ) -> StepTask | None:
        """See `detector_step`."""
        # The profiler builds its samples from detectors' losses, so it imports this room.
        from nestevo_hw.profiler.steps import detector_step

        detectors = [_detector(model) for model in models]
        return detector_step(detectors, frame_size=frame_size, batch_size=batch_size, soft_regions=soft_regions)

    def inputs(self, images: Tensor) -> list[Tensor]:
        """The list that torchvision's detectors take."""
        return as_list(images)

    def export(self, model: nn.Module, path: Path, example: Tensor) -> None:
        """See `export_detector`."""
        export_detector(_detector(model), path, example)

    def open_exported(self, path: Path) -> OnnxDetector:
        """The detector as ONNX Runtime runs it."""
        return OnnxDetector(path)


def _detector(model: nn.Module) -> FasterRCNN:
    if not isinstance(model, FasterRCNN):
        raise InputError(
            f"expected a Faster R-CNN but got {type(model).__name__}; "
            'set task = "classification" for image classifiers, or name a detector'
        )
    return model
