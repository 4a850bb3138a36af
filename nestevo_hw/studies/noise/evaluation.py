"""What the noise benchmark scores a model by: labelled embedded frames where they fit, else agreement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.models.inputs import Size, example_inputs, fitting_size
from nestevo_hw.models.zoo import Task, ZooModel
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.studies.data.dataset import Dataset
from nestevo_hw.studies.data.feeding import called, feed_for
from nestevo_hw.studies.data.outputs import check_finite, detections, is_rows
from nestevo_hw.studies.data.scores import DETECTION, Measure, accuracy, doubt, precision
from nestevo_hw.studies.noise.fidelity import (
    gives_class_scores,
    map_vs_digital,
    normalise_statistics,
    r2_vs_digital,
    share_of_one_class,
    top1_agreement,
)
from nestevo_hw.tasks.faster_rcnn.labelling import predict
from nestevo_hw.tasks.metrics import mean_average_precision

CONDITIONS = {"day": None, "night": DriftSegment(start=0, kind="night", strength=0.6)}
"""Variants of the embedded frames: the familiar condition and a drifted one."""
SPACING = 20
"""Frames of a stream between two that are scored, so that traffic has moved on."""
CONTINUOUS = "r2_vs_digital"
"""The metric that any change of an output changes; all others count frames or the objects in them."""
_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTask:
    """How a model is scored."""

    task: Task
    metrics: tuple[str, ...]
    """map50, map75 and map, or top1 and top5; or, compared with the digital model only, map50_vs_digital and so on,
    top1_agreement or r2_vs_digital. The first is the headline."""
    measure: Measure
    """Scores a model, by scene and metric."""
    calibration: tuple[Any, ...]
    """In-domain batches for the input ranges, other frames than the scored ones."""
    note: str
    """For people to read: what was scored on what."""
    frames: int
    """Scored, of each scene."""
    classes: int | None = None
    """Of a classifier that is scored against the truth."""
    one_class: float | None = None
    """Share of frames of which a classifier that is compared with itself names the class that it names most."""

    @property
    def metric(self) -> str:
        """Name of the headline metric."""
        return self.metrics[0]

    @property
    def frame_worth(self) -> float:
        """Score that one of the frames is worth, about: smaller losses cannot be told; 0 of a continuous score."""
        return 0.0 if self.metric == CONTINUOUS else 1.0 / self.frames

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Headline score of a model, by scene."""
        return {scene: scores[self.metric] for scene, scores in self.measure(model).items()}

    def doubt(self, digital: float) -> str:
        """What to check, where even the digital model scores next to nothing; else ""."""
        return doubt(self.metric, digital, self.classes, self.one_class)


def prepare_task(
    chosen: ZooModel, *, frames: int, seed: int, data: Dataset | None = None, size: Size | None = None,
    channels: int | None = None,
) -> BenchTask:  # fmt: skip
    """The metric that fits a model.

    Args:
        chosen: scored against the truth of `data`; without it a trained detector of the embedded classes by mAP on
            rendered frames, any other model by agreement with itself. BatchNorm of one with random weights is
            re-estimated.
        frames: frames to score on, for each condition.
        seed: of the frames.
        data: labelled samples of the user's own.
        size: (H, W) of made-up images; None for what the model takes.
        channels: of made-up images; None for what the model takes.

    Raises:
        InputError: the model takes or returns something unexpected, or what is not finite.
    """
    if data is not None:
        return labelled_task(chosen.name, chosen.model, data, trained=chosen.trained)
    if chosen.trained and size is None and channels is None and detects_embedded_classes(chosen):
        return _embedded_task(frames, seed)
    try:
        size = size or fitting_size(chosen.model, channels)
        counts = [min(_BATCH, frames - start) for start in range(0, frames, _BATCH)]
        batches: list[Any] = [
            example_inputs(chosen.model, count=n, seed=derive_seed(seed, "score", _BATCH * i), size=size,
                           channels=channels)
            for i, n in enumerate(counts)
        ]  # fmt: skip
        calibration: tuple[Any, ...] = (
            example_inputs(chosen.model, count=_BATCH, seed=derive_seed(seed, "calibrate"), size=size,
                           channels=channels),
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{chosen.name}: {error}") from error
    batches, calibration = _as_taken(chosen.model, batches, calibration)
    output = called(chosen.name, chosen.model, calibration[0])
    if chosen.task != "detection" and not is_rows(output, len(calibration[0])):  # unlike empty rows of detections
        check_finite(chosen.name, output)
    if not chosen.trained:
        normalise_statistics(chosen.model, calibration)
    return _agreement_task(chosen, batches, calibration, frames)


def labelled_task(name: str, model: nn.Module, data: Dataset, *, trained: bool = True) -> BenchTask:
    """A model scored against the truth of labelled samples.

    Args:
        name: of the model, for messages.
        model: digital, in eval mode.
        data: what it is scored on, and other samples to calibrate with.
        trained: False for random weights, of which BatchNorm is re-estimated.

    Raises:
        InputError: the model does not run on the samples, or what it returns cannot be scored.
    """
    feed = feed_for(name, model, data)
    calibration = tuple(batch for batch, _ in feed.batches(data.calibration.samples))
    if not trained:
        normalise_statistics(model, calibration)
    metrics, measure, classes = precision(name, model, feed) if data.detection else accuracy(name, model, feed)
    counted = f"{len(data.scored)} of {data.total} samples of {data.name}"
    return BenchTask(
        task="detection" if data.detection else "classification", metrics=metrics, measure=measure,
        calibration=calibration, frames=len(data.scored), classes=classes,
        note=f"scored on {counted}, each {data.shape}, {data.preprocessing.text}; input ranges from "
        f"{len(data.calibration)} others",
    )  # fmt: skip


def _as_taken(model: nn.Module, batches: list[Any], calibration: tuple[Any, ...]) -> tuple[list[Any], tuple[Any, ...]]:
    """Lists of frames as one tensor each, for a detector within a module that takes no list."""
    if not isinstance(calibration[0], list) or isinstance(model, FasterRCNN):
        return batches, calibration
    try:
        called("", model, calibration[0])
    except InputError:
        return [torch.stack(batch) for batch in batches], tuple(torch.stack(batch) for batch in calibration)
    return batches, calibration


def _agreement_task(chosen: ZooModel, batches: Sequence[Any], calibration: tuple[Any, ...], frames: int) -> BenchTask:
    agreement: tuple[str, ...] = (CONTINUOUS,)
    compare: Callable[[nn.Module, Sequence[Any]], Measure] = r2_vs_digital
    task, one_class = chosen.task, None
    if task == "detection" or _gives_rows(chosen.model, batches[0]):
        task, agreement, compare = (
            "detection",
            ("map50_vs_digital", "map75_vs_digital", "map_vs_digital"),
            map_vs_digital,
        )
    elif gives_class_scores(chosen.model, batches[0]):
        agreement, compare = ("top1_agreement",), top1_agreement
        one_class = share_of_one_class(chosen.model, batches)
    try:
        measure = compare(chosen.model, batches)
    except InputError as error:
        raise InputError(f"{chosen.name}: {error}") from error
    first = batches[0][0]
    kind = f"{'images' if first.ndim == 3 else 'vectors'} of {' x '.join(map(str, first.shape))}"
    return BenchTask(
        task=task,
        metrics=agreement,
        measure=measure,
        calibration=calibration,
        note=f"agreement with the digital model on {frames} made-up {kind}, which says nothing of what is right: give "
        "labelled samples of your own by --data",
        frames=frames,
        one_class=one_class,
    )


@torch.no_grad()
def _gives_rows(model: nn.Module, batch: Any) -> bool:  # noqa: ANN401 - what the model takes
    """Whether the model returns rows of six numbers for each image, some of them detections."""
    output = model(batch)
    return is_rows(output, len(batch)) and any(len(one["scores"]) for one in detections(output, len(batch)))


def detects_embedded_classes(chosen: ZooModel) -> bool:
    """Whether the model is a detector of the embedded streams' classes, for frames of their size."""
    model = chosen.model
    return (
        chosen.classes in ((), CLASSES)
        and isinstance(model, FasterRCNN)
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
        metrics=DETECTION,
        measure=measure,
        calibration=tuple(as_list(chunk) for chunk in torch.split(familiar.images, _BATCH)),
        note=f"mAP@0.50 on {frames} rendered frames each by day and by night; input ranges from frames by day",
        frames=frames,
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
