"""The tasks of one evolution window: functions that read files, write files and return JSON.

Every path a task reads or writes stands in its payload, so a task can run in any worker on any machine that sees the
run folder, and a finished one need not run again.
"""

import math
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nestevo_hw.config import RunConfig, parse_config
from nestevo_hw.evolution.aggregate import average
from nestevo_hw.evolution.cameras import capture_window, reference_frames
from nestevo_hw.evolution.drift import (
    calibrated_threshold,
    drift_score,
    load_moments,
    moments_by_class,
    save_moments,
)
from nestevo_hw.evolution.dryrun import dry_run
from nestevo_hw.evolution.generator import FeatureGenerator, label_emd, save_generator, train_generator
from nestevo_hw.evolution.guard import compare_teachers, score_teacher
from nestevo_hw.evolution.learning import distil_terminal, learn_mutually
from nestevo_hw.evolution.refresh import chip_of
from nestevo_hw.evolution.teacher import TeacherFiles, open_teacher, program_teacher
from nestevo_hw.evolution.training import training_device
from nestevo_hw.files import replacing
from nestevo_hw.models.checkpoint import load_detector, save_detector
from nestevo_hw.models.faster_rcnn import box_feature_width
from nestevo_hw.models.onnx import OnnxDetector, export_detector
from nestevo_hw.report.pictures import draw_detections
from nestevo_hw.seeding import seeded, torch_generator
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames, save_frames
from nestevo_hw.tasks.detection import predict
from nestevo_hw.tasks.metrics import mean_average_precision
from nestevo_hw.tasks.supervision import described_objects, save_supervision, supervise

Payload = dict[str, Any]
Result = dict[str, Any]

SHOWN_SCORE = 0.5
"""Detections drawn into sample pictures."""


def _config(payload: Payload) -> RunConfig:
    return parse_config(payload["config"], source="task payload")


def capture(payload: Payload) -> Result:
    """A terminal's camera: frames to upload, and later frames of the window that only the evaluation sees."""
    config = _config(payload)
    upload, test = capture_window(config, payload["terminal"], payload["window"])
    save_frames(upload.unlabelled(), Path(payload["upload"]))
    save_frames(test, Path(payload["test"]))
    return {"upload_bytes": upload.images.numel()}


def prepare(payload: Payload) -> Result:
    """Before the first window: in-domain frames, the first programming, training moments and gamma."""
    config, files = _config(payload), TeacherFiles.of(payload)
    frames, segments = reference_frames(config)
    save_frames(frames, Path(payload["reference"]))
    programmed = _programmed(config, files, frames, generation=payload["generation"])
    model, classes = open_teacher(config.teacher, files, None), load_detector(files.weights)[1].classes
    words = supervise(model, frames.images, config.labels)
    training = moments_by_class(*described_objects(words))
    save_moments(training, Path(payload["moments"]))
    scores = [
        drift_score(
            training,
            moments_by_class(*described_objects(words[segment])),
            range(1, len(classes) + 1),
            min_samples=config.drift.min_samples,
        ).score
        for segment in segments
    ]
    gamma = config.drift.gamma
    if gamma is None:
        gamma = calibrated_threshold(scores, config.drift.false_alarm_rate)
    return {"gamma": gamma, "in_domain_scores": scores, "classes": list(classes), **programmed}


def inspect(payload: Payload) -> Result:
    """How good the teacher still is on in-domain frames, at its age."""
    config, files = _config(payload), TeacherFiles.of(payload)
    return {"score": _or_null(score_teacher(config, files, load_frames(Path(payload["reference"]))))}


def program(payload: Payload) -> Result:
    """Write the teacher in force onto the crossbar again."""
    frames = load_frames(Path(payload["reference"]))
    return _programmed(_config(payload), TeacherFiles.of(payload), frames, generation=payload["generation"])


def _programmed(config: RunConfig, files: TeacherFiles, frames: FrameBatch, *, generation: int) -> Result:
    """Program a teacher, and measure it as it will be at its first label."""
    chip = chip_of(config.refresh, config.teacher.device)
    programmed = program_teacher(
        config.teacher, files, frames.images, seed=config.seed, generation=generation, chip=chip
    )
    fresh = replace(files, age_s=config.teacher.delay_s)
    return {**programmed, "score": _or_null(score_teacher(config, fresh, frames))} if programmed else {}


def profile(payload: Payload) -> Result:
    """Dry run of one training step of each kind with a terminal's own model, for the scheduler's predictions."""
    config = _config(payload)
    device = training_device(config.execution.device)
    return dry_run(config, terminal=Path(payload["model"]), intermediate=Path(payload["weights"]), device=device)


def label(payload: Payload) -> Result:
    """The teacher labels one terminal's uploaded frames on the crossbar."""
    config, images = _config(payload), load_frames(Path(payload["upload"])).images
    model = open_teacher(config.teacher, TeacherFiles.of(payload), images if config.scene_norm else None)
    words = supervise(model, images, config.labels)
    save_supervision(words, Path(payload["supervision"]))
    _, labels = described_objects(words)
    counts = Counter(labels.tolist())
    doubtful = sum(int(w.annotation.ignore.sum()) for w in words)
    return {"counts": {str(c): counts[c] for c in sorted(counts)}, "doubtful": doubtful}


def judge(payload: Payload) -> Result:
    """Drift of one terminal's frames from the teacher's training data (eq. 11).

    Without the scene's own BatchNorm statistics: they would hide what is to be measured.
    """
    config, images = _config(payload), load_frames(Path(payload["upload"])).images
    files = TeacherFiles.of(payload)
    words = supervise(open_teacher(config.teacher, files, None), images, config.labels)
    drift = drift_score(
        load_moments(Path(payload["moments"])),
        moments_by_class(*described_objects(words)),
        range(1, len(load_detector(files.weights)[1].classes) + 1),
        min_samples=config.drift.min_samples,
    )
    return {"score": drift.score, "left_out": list(drift.left_out)}


def generate(payload: Payload) -> Result:
    """Train the feature generator on the prediction modules of the intermediate models (Algorithm 1)."""
    config = _config(payload)
    predictors: list[nn.Module] = []
    for path in payload["predictors"]:
        model, spec = load_detector(Path(path))
        predictors.append(model.roi_heads.box_predictor.cls_score.requires_grad_(False))
    classes = len(spec.classes)
    counts = [{int(c): n for c, n in one.items()} for one in payload["counts"]]
    with seeded(config.seed, "generator", payload["window"]):
        generator = FeatureGenerator(classes, box_feature_width(model), config.generator)
    random = torch_generator(config.seed, "generator", payload["window"])
    loss = train_generator(generator, predictors, counts, config.generator, random)
    save_generator(generator, Path(payload["generator"]))
    share = config.generator.weight / (1 + config.generator.weight)
    return {
        "label_loss": loss,
        "emd_before": label_emd(counts, classes),
        "emd_after": label_emd(counts, classes, generated_share=share),
    }


def mutual(payload: Payload) -> Result:
    """A terminal and its intermediate model learn from the labels and from each other (eq. 14, 15)."""
    config = _config(payload)
    return learn_mutually(
        config,
        terminal=Path(payload["terminal_in"]),
        intermediate=Path(payload["intermediate_in"]),
        frames=Path(payload["upload"]),
        supervision=Path(payload["supervision"]),
        reference=Path(payload["reference"]),
        generator=Path(payload["generator"]) if payload["generator"] else None,
        counts=[{int(c): n for c, n in one.items()} for one in payload["counts"]],
        terminal_out=Path(payload["terminal_out"]),
        intermediate_out=Path(payload["intermediate_out"]),
        random_name=payload["name"],
        device=training_device(config.execution.device),
    )


def merge(payload: Payload) -> Result:
    """Average the intermediate models, program the result, and guard (Algorithm 2, line 14)."""
    config, old, new = _config(payload), TeacherFiles.of(payload), TeacherFiles.of(payload["candidate"])
    model, spec = load_detector(old.weights)
    model.load_state_dict(average([load_detector(Path(path))[0].state_dict() for path in payload["intermediates"]]))
    save_detector(model, spec, new.weights)
    reference = load_frames(Path(payload["reference"]))
    generation, chip = payload["candidate"]["generation"], chip_of(config.refresh, config.teacher.device)
    programmed = program_teacher(
        config.teacher, new, reference.images, seed=config.seed, generation=generation, chip=chip
    )
    verdict = compare_teachers(config, old, new, reference)
    score = verdict.guard_after
    if score is None and programmed:
        score = _or_null(score_teacher(config, new, reference))
    return {**asdict(verdict), **programmed, "score": score}


def distil(payload: Payload) -> Result:
    """Distil the teacher's words on a terminal's original frames into the terminal."""
    config = _config(payload)
    return distil_terminal(
        config,
        terminal=Path(payload["terminal_in"]),
        frames=Path(payload["upload"]),
        supervision=Path(payload["supervision"]),
        terminal_out=Path(payload["terminal_out"]),
        steps=payload["steps"],
        random_name=payload["name"],
        device=training_device(config.execution.device),
    )


def export(payload: Payload) -> Result:
    """Write the evolved terminal as ONNX, checked against the model on an uploaded frame."""
    model, _ = load_detector(Path(payload["terminal"]))
    export_detector(model, Path(payload["onnx"]), load_frames(Path(payload["upload"])).images[0])
    return {"download_bytes": Path(payload["onnx"]).stat().st_size}


def evaluate(payload: Payload) -> Result:
    """Score models on a terminal's test frames: checkpoints, ONNX files, or teachers on the crossbar."""
    config, test = _config(payload), load_frames(Path(payload["test"]))
    scores = []
    for subject in payload["subjects"]:
        weights = Path(subject["weights"])
        classes = load_detector(weights)[1].classes
        if subject["runtime"] == "onnx":
            found = OnnxDetector(Path(subject["onnx"])).predict(test.images)
        elif subject["runtime"] == "crossbar":
            scene = load_frames(Path(payload["upload"])).images if subject["scene_norm"] else None
            found = predict(open_teacher(config.teacher, TeacherFiles.of(subject), scene), test.images)
        else:
            found = predict(load_detector(weights)[0], test.images)
        scores.append({"model": subject["model"], "stage": subject["stage"], **_score(found, test, len(classes))})
        if subject.get("picture"):
            _draw(Path(subject["picture"]), test, found, classes)
    return {"scores": scores}


def _score(found: list[dict[str, Tensor]], test: FrameBatch, classes: int) -> Result:
    """Mean average precision by metric; null where the frames have no labels or no objects."""
    if test.truth is None:
        return {"map50": None, "map75": None, "map": None, "frames": len(test)}
    score = asdict(mean_average_precision(found, test.truth, classes))
    return {metric: _or_null(value) for metric, value in score.items()}


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _draw(path: Path, test: FrameBatch, found: list[dict[str, Tensor]], classes: tuple[str, ...]) -> None:
    """Picture of the test frame with the most objects (of an unlabelled stream, the middle one), with detections."""
    truth, middle = test.truth, len(test) // 2
    busiest = middle if truth is None else max(range(len(test)), key=lambda i: len(truth[i].labels))
    shown = found[busiest]["scores"] >= SHOWN_SCORE
    boxes, labels, scores = (found[busiest][key][shown] for key in ("boxes", "labels", "scores"))
    with replacing(path) as temporary:
        draw_detections(test.images[busiest], boxes, labels, scores, classes).save(temporary, format="PNG")
