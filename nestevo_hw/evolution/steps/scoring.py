"""Steps at the end of a window: what all of it was worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from torch import Tensor

from nestevo_hw.base.files import replacing
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.evolution.teacher import TeacherFiles
from nestevo_hw.evolution.teaching import known_classes
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.deployment import open_deployed
from nestevo_hw.tasks.predictions import draw_prediction, draw_truth
from nestevo_hw.tasks.task import VisionTask, headline

Stage = Literal["before", "adapted", "after", "onnx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One model to score on a terminal's test frames."""

    model: str
    """`report.records.terminal.TEACHER` or the name of the terminal."""
    stage: Stage
    weights: Path
    deployed: Path | None = None
    """Folder that the terminal was sent, run by ONNX Runtime in place of the weights."""
    teacher: TeacherFiles | None = None
    """Run on the crossbar in place of the weights."""
    scene_norm: bool = False
    """Whether the teacher takes the BatchNorm statistics of the uploaded frames."""
    picture: Path | None = None
    """Where a test frame with its detections is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest(Request):
    """Models to score, and on what."""

    upload: Path
    test: Path
    models: tuple[Scored, ...]
    truth_picture: Path | None = None
    """Where the frame of the models' pictures is drawn with its true objects, if they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Accuracy of one model; None where the frames have no labels or no objects."""

    model: str
    stage: Stage
    score: float | None
    metrics: dict[str, float | None]
    frames: int
    scene_norm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateResult(Result):
    """Scores in the order of the models."""

    scores: tuple[Score, ...]


def evaluate(context: Context, request: EvaluateRequest) -> EvaluateResult:
    """Score models on a terminal's test frames: checkpoints, deployments, or teachers on the crossbar."""
    task, test = context.task, load_frames(request.test)
    shown, scores, classes = _shown_frame(test), [], known_classes(context.config)
    for scored in request.models:
        detections = _predicted(context, scored, request, test.images)
        score, metrics = _score(task, detections, test, len(classes))
        scores.append(
            Score(
                model=scored.model,
                stage=scored.stage,
                score=score,
                metrics=metrics,
                frames=len(test),
                scene_norm=scored.scene_norm,
            )
        )
        if scored.picture is not None:
            _save(draw_prediction(test.images[shown], detections[shown], classes), scored.picture)
    if request.truth_picture is not None and test.truth is not None:
        _save(draw_truth(test.images[shown], test.truth[shown], classes), request.truth_picture)
    return EvaluateResult(scores=tuple(scores))


def _predicted(context: Context, scored: Scored, request: EvaluateRequest, images: Tensor) -> list[dict[str, Tensor]]:
    task = context.task
    if scored.deployed is not None:
        return open_deployed(task, scored.deployed).predict(images)
    if scored.teacher is not None:
        scene = load_frames(request.upload).images if scored.scene_norm else None
        return context.teaching.predict(context.open_teacher(scored.teacher, scene), images)
    return task.predict(context.load(scored.weights)[0], images)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallRequest(Request):
    """A terminal's model and test frames of earlier windows."""

    terminal: Path
    tests: dict[int, Path]
    """By window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallResult(Result):
    """Its accuracy by window; None where that is not defined."""

    scores: dict[int, float | None]


def recall(context: Context, request: RecallRequest) -> RecallResult:
    """Score a terminal's model on the test frames of earlier windows: what it still knows of them."""
    model, spec = context.load(request.terminal)
    scores = {}
    for window, path in request.tests.items():
        test = load_frames(path)
        predictions = context.task.predict(model, test.images)
        scores[window], _ = _score(context.task, predictions, test, len(spec.classes))
    return RecallResult(scores=scores)


def _score(
    task: VisionTask, predictions: Sequence[dict[str, Tensor]], test: FrameBatch, classes: int
) -> tuple[float | None, dict[str, float | None]]:
    """The headline score and all scores by metric; None and nothing where the frames have no labels."""
    if test.truth is None:
        return None, {}
    scores = task.score(predictions, test.truth, classes)
    return headline(scores), dict(scores)


def _shown_frame(test: FrameBatch) -> int:
    """The test frame with the most objects; of an unlabelled stream, the middle one."""
    truth = test.truth
    return len(test) // 2 if truth is None else max(range(len(test)), key=lambda i: len(truth[i].labels))


def _save(picture: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
