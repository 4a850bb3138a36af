"""Steps at the end of a window: deployment, and what all of it was worth."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from nestevo_hw.base.files import replacing
from nestevo_hw.evolution.aggregate import average
from nestevo_hw.evolution.steps.payload import Payload, Result, opened, or_null
from nestevo_hw.evolution.teacher import TeacherFiles, open_teacher
from nestevo_hw.models.checkpoint import load_model, save_model
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.predictions import draw_prediction
from nestevo_hw.tasks.task import VisionTask, headline


def average_terminals(payload: Payload) -> Result:
    """The plain mean of terminals' models, which only exists where all have one structure."""
    model, spec = load_model(Path(payload["terminals"][0]))
    model.load_state_dict(average([load_model(Path(path))[0].state_dict() for path in payload["terminals"]]))
    save_model(model, spec, Path(payload["terminal_out"]))
    return {}


def export(payload: Payload) -> Result:
    """Write the evolved terminal as ONNX, checked against the model on an uploaded frame."""
    _, task = opened(payload)
    model, _ = load_model(Path(payload["terminal_out"]))
    task.export(model, Path(payload["onnx"]), load_frames(Path(payload["upload"])).images[0])
    return {"download_bytes": Path(payload["onnx"]).stat().st_size}


def evaluate(payload: Payload) -> Result:
    """Score models on a terminal's test frames: checkpoints, ONNX files, or teachers on the crossbar."""
    config, task = opened(payload)
    test = load_frames(Path(payload["test"]))
    scores = []
    for subject in payload["subjects"]:
        weights = Path(subject["weights"])
        classes = load_model(weights)[1].classes
        if subject["runtime"] == "onnx":
            found = task.open_exported(Path(subject["onnx"])).predict(test.images)
        elif subject["runtime"] == "crossbar":
            scene = load_frames(Path(payload["upload"])).images if subject["scene_norm"] else None
            teacher = open_teacher(task, config.teacher, TeacherFiles.of(subject), scene)
            found = task.predict(teacher, test.images)
        else:
            found = task.predict(load_model(weights)[0], test.images)
        scores.append({"model": subject["model"], "stage": subject["stage"], **_score(task, found, test, len(classes))})
        if subject.get("picture"):
            _draw(Path(subject["picture"]), test, found, classes)
    return {"scores": scores}


def recall(payload: Payload) -> Result:
    """Score a terminal's model on the test frames of earlier windows: what it still knows of them."""
    _, task = opened(payload)
    model, spec = load_model(Path(payload["terminal_out"]))
    scores = {}
    for window, path in payload["tests"].items():
        test = load_frames(Path(path))
        scores[window] = _score(task, task.predict(model, test.images), test, len(spec.classes))["score"]
    return {"scores": scores}


def _score(task: VisionTask, found: Sequence[dict[str, Tensor]], test: FrameBatch, classes: int) -> Result:
    """Scores by metric and the headline; null where the frames have no labels or no objects."""
    if test.truth is None:
        return {"score": None, "metrics": {}, "frames": len(test)}
    scores = task.score(found, test.truth, classes)
    metrics = {name: or_null(value) for name, value in scores.items()}
    return {"score": or_null(headline(scores)), "metrics": metrics, "frames": len(test)}


def _draw(path: Path, test: FrameBatch, found: list[dict[str, Tensor]], classes: tuple[str, ...]) -> None:
    """Picture of the test frame with the most objects (of an unlabelled stream, the middle one), with predictions."""
    truth, middle = test.truth, len(test) // 2
    busiest = middle if truth is None else max(range(len(test)), key=lambda i: len(truth[i].labels))
    with replacing(path) as temporary:
        draw_prediction(test.images[busiest], found[busiest], classes).save(temporary, format="PNG")
