"""Steps of the global teacher: written, measured, and replaced by the mean of its intermediate models."""

from dataclasses import asdict, replace
from pathlib import Path

from nestevo_hw.evolution.aggregate import average
from nestevo_hw.evolution.cameras import reference_frames
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.drift import calibrated_threshold, drift_score, moments_by_class, save_moments
from nestevo_hw.evolution.gate import PARTS, compare_teachers, score_teacher
from nestevo_hw.evolution.refresh import chip_of
from nestevo_hw.evolution.steps.payload import Payload, Result, on_crossbar, opened, or_null
from nestevo_hw.evolution.teacher import TeacherFiles, open_teacher, program_teacher
from nestevo_hw.models.checkpoint import load_model, save_model
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames, save_frames
from nestevo_hw.tasks.supervision import labelled_features
from nestevo_hw.tasks.task import VisionTask


def prepare(payload: Payload) -> Result:
    """Before the first window: in-domain frames, the first programming, training moments and gamma."""
    config, task = opened(payload)
    files = TeacherFiles.of(payload)
    frames, segments = reference_frames(config)
    save_frames(frames, Path(payload["reference"]))
    programmed = _programmed(task, config, files, frames, generation=payload["generation"])
    model, classes = open_teacher(task, config.teacher, files, None), load_model(files.weights)[1].classes
    words = task.label(model, frames.images, config.labels)
    training = moments_by_class(*labelled_features(words))
    save_moments(training, Path(payload["moments"]))
    scores = [
        drift_score(
            training,
            moments_by_class(*labelled_features(words[segment])),
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
    config, _ = opened(payload)
    reference = load_frames(Path(payload["reference"]))
    score = or_null(score_teacher(config, TeacherFiles.of(payload), reference))
    return {"score": score, **on_crossbar(config, len(reference) // PARTS)}


def program(payload: Payload) -> Result:
    """Write the teacher in force onto the crossbar again."""
    config, task = opened(payload)
    frames = load_frames(Path(payload["reference"]))
    return _programmed(task, config, TeacherFiles.of(payload), frames, generation=payload["generation"])


def merge(payload: Payload) -> Result:
    """Average the intermediate models, program the result, and guard (Algorithm 2, line 14)."""
    config, task = opened(payload)
    old, new = TeacherFiles.of(payload), TeacherFiles.of(payload["candidate"])
    model, spec = load_model(old.weights)
    model.load_state_dict(average([load_model(Path(path))[0].state_dict() for path in payload["intermediates"]]))
    save_model(model, spec, new.weights)
    reference = load_frames(Path(payload["reference"]))
    written = _written(task, config, new, reference, generation=payload["candidate"]["generation"])
    verdict = compare_teachers(config, old, new, reference)
    score = verdict.gate_after
    if score is None and written:
        score = or_null(score_teacher(config, new, reference))
    return {**asdict(verdict), **written, "score": score, **on_crossbar(config, 2 * len(reference) // PARTS)}


def _programmed(
    task: VisionTask, config: RunConfig, files: TeacherFiles, frames: FrameBatch, *, generation: int
) -> Result:
    """Program a teacher, and measure it as it will be at its first label."""
    written = _written(task, config, files, frames, generation=generation)
    fresh = replace(files, age_s=config.teacher.delay_s)
    if not written:
        return {}
    score = or_null(score_teacher(config, fresh, frames))
    return {**written, "score": score, **on_crossbar(config, len(frames) // PARTS)}


def _written(
    task: VisionTask, config: RunConfig, files: TeacherFiles, frames: FrameBatch, *, generation: int
) -> Result:
    chip = chip_of(config.refresh, config.teacher.device)
    return program_teacher(
        task, config.teacher, files, frames.images, seed=config.seed, generation=generation, chip=chip
    )
