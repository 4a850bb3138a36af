"""What the noise benchmark scores a model by: labelled embedded frames where they fit, else agreement."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.models.zoo import Task, ZooModel, example_inputs
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.studies.noise.fidelity import (
    Measure,
    check_outputs,
    gives_class_scores,
    map_vs_digital,
    normalise_statistics,
    r2_vs_digital,
    top1_agreement,
)
from nestevo_hw.tasks.faster_rcnn.labelling import predict
from nestevo_hw.tasks.metrics import mean_average_precision

CONDITIONS = {"day": None, "night": DriftSegment(start=0, kind="night", strength=0.6)}
"""Variants of the embedded frames: the familiar condition and a drifted one."""
DETECTION_METRICS = ("map50", "map75", "map")
"""Mean average precision at IoU 0.50, at 0.75, and its mean over 0.50 to 0.95."""
SPACING = 20
"""Frames of a stream between two that are scored, so that traffic has moved on."""
_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTask:
    """How a model is scored."""

    task: Task
    metrics: tuple[str, ...]
    """map50, map75 and map; or, compared with the digital model only, map50_vs_digital and so on, top1_agreement
    or r2_vs_digital. The first is the headline."""
    measure: Measure
    """Scores a model, by scene and metric."""
    calibration: tuple[Any, ...]
    """In-domain batches for the input ranges, other frames than the scored ones."""
    note: str
    """For people to read: what was scored on what."""
    labelled: bool
    """Whether the frames have truth: accuracy, not agreement."""

    @property
    def metric(self) -> str:
        """Name of the headline metric."""
        return self.metrics[0]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Headline score of a model, by scene."""
        return {scene: scores[self.metric] for scene, scores in self.measure(model).items()}


def prepare_task(chosen: ZooModel, *, frames: int, seed: int) -> BenchTask:
    """The metric that fits a model.

    Args:
        chosen: a trained detector of the embedded classes is scored by mAP on rendered frames; any
            other model by agreement with itself. BatchNorm of one with random weights is re-estimated.
        frames: frames to score on, for each condition.
        seed: of the frames.

    Raises:
        InputError: the model takes or returns something unexpected.
    """
    if chosen.trained and detects_embedded_classes(chosen.model):
        return _embedded_task(frames, seed)
    batches = [
        example_inputs(chosen.model, count=min(_BATCH, frames - start), seed=derive_seed(seed, "score", start))
        for start in range(0, frames, _BATCH)
    ]
    calibration = (example_inputs(chosen.model, count=_BATCH, seed=derive_seed(seed, "calibrate")),)
    with _somebodys_model(chosen, batches[0]):
        if not chosen.trained:
            normalise_statistics(chosen.model, calibration)
        return _agreement_task(chosen, batches, calibration, frames)


def check_runs(chosen: ZooModel) -> None:
    """Run a model once on two made-up images, before any work that relies on it.

    Raises:
        InputError: it does not run, or returns what cannot be compared.
    """
    if chosen.trained and detects_embedded_classes(chosen.model):
        return
    batch = example_inputs(chosen.model, count=2)
    with _somebodys_model(chosen, batch), torch.no_grad():
        output = chosen.model(batch)
        if chosen.task == "classification":
            check_outputs(output)


@contextmanager
def _somebodys_model(chosen: ZooModel, batch: Any) -> Iterator[None]:  # noqa: ANN401 - what the model takes
    """Tell whatever the code of a model comes to as the model's."""
    try:
        yield
    except NestEvoError:
        raise
    except (Exception, SystemExit) as error:
        told = str(error) or type(error).__name__
        raise InputError(f"{chosen.name} does not run on made-up images of shape {_shape(batch)}: {told}") from error


def _agreement_task(chosen: ZooModel, batches: Sequence[Any], calibration: tuple[Any, ...], frames: int) -> BenchTask:
    agreement: tuple[str, ...] = ("r2_vs_digital",)
    compare: Callable[[nn.Module, Sequence[Any]], Measure] = r2_vs_digital
    if chosen.task == "detection":
        agreement, compare = ("map50_vs_digital", "map75_vs_digital", "map_vs_digital"), map_vs_digital
    elif gives_class_scores(chosen.model, batches[0]):
        agreement, compare = ("top1_agreement",), top1_agreement
    return BenchTask(
        task=chosen.task,
        metrics=agreement,
        measure=compare(chosen.model, batches),
        calibration=calibration,
        note=f"agreement with the digital model on {frames} made-up images; fidelity, not accuracy",
        labelled=False,
    )


def detects_embedded_classes(model: nn.Module) -> bool:
    """Whether the model is a detector of the embedded streams' classes, for frames of their size."""
    return (
        isinstance(model, FasterRCNN)
        and model.roi_heads.box_predictor.cls_score.out_features == len(CLASSES) + 1
        and model.transform.min_size[0] <= 160
    )


def _embedded_task(frames: int, seed: int) -> BenchTask:
    scored = {name: _frames(seed, segment, 0, frames) for name, segment in CONDITIONS.items()}
    for name, batch in scored.items():
        if not any(len(a.labels) for a in batch.truth or ()):
            raise InputError(
                f"no object in the {frames} frames by {name}, so there is nothing to score; use more frames"
            )
    familiar = _frames(seed, None, frames * SPACING, 4 * _BATCH)

    def measure(candidate: nn.Module) -> dict[str, dict[str, float]]:
        return {name: score_detector(candidate, batch) for name, batch in scored.items()}

    return BenchTask(
        task="detection",
        metrics=DETECTION_METRICS,
        measure=measure,
        calibration=tuple(as_list(chunk) for chunk in torch.split(familiar.images, _BATCH)),
        note=f"mAP@0.50 on {frames} rendered frames each by day and by night; input ranges from frames by day",
        labelled=True,
    )


def _frames(seed: int, segment: DriftSegment | None, start: int, count: int) -> FrameBatch:
    script = DriftScript(segments=() if segment is None else (segment,))
    stream = SyntheticStream(name="bench", place="bench", seed=derive_seed(seed, "bench", "stream"), drift=script)
    return stream.read(range(start, start + count * SPACING, SPACING))


def score_detector(model: nn.Module, frames: FrameBatch) -> dict[str, float]:
    """Mean average precision of a detector on labelled frames, by metric.

    Raises:
        InputError: it is no Faster R-CNN, or the frames have no labels.
    """
    if not isinstance(model, FasterRCNN) or frames.truth is None:
        raise InputError("the embedded frames score Faster R-CNN detectors only")
    score = mean_average_precision(predict(model, frames.images), frames.truth, len(CLASSES))
    return {"map50": score.map50, "map75": score.map75, "map": score.map}


def _shape(batch: Any) -> tuple[int, ...]:  # noqa: ANN401 - what the model takes
    return tuple(batch.shape) if isinstance(batch, torch.Tensor) else tuple(batch[0].shape)
