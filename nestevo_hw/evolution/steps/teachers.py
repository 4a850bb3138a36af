"""Steps of the global teacher: programmed, measured, and replaced by the mean of its intermediate models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.evolution.adaptation import adapt_labelled, adapt_unlabelled
from nestevo_hw.evolution.aggregate import average
from nestevo_hw.evolution.cameras import reference_frames
from nestevo_hw.evolution.drift import (
    MOST_SAMPLES,
    PAPERS_GAMMA,
    calibrated_threshold,
    drift_score,
    moments_by_class,
    save_moments,
    segments_needed,
)
from nestevo_hw.evolution.gate import ValidationGate, Verdict
from nestevo_hw.evolution.refresh import chip_of
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.evolution.teacher import Programmed, TeacherFiles, program_teacher
from nestevo_hw.evolution.teaching import known_classes
from nestevo_hw.models.adapters import Adapters
from nestevo_hw.models.checkpoint import load_model, save_model
from nestevo_hw.report.records.teacher import Origin
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames, save_frames
from nestevo_hw.tasks.capabilities import ClassLogits
from nestevo_hw.tasks.supervision import labelled_features, load_supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRequest(Request):
    """A teacher to write onto the crossbar."""

    teacher: TeacherFiles
    generation: int
    """Counts the programmings of a run; each draws its own noise."""
    reference: Path
    """In-domain frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult(Result):
    """How it came onto the crossbar."""

    programmed: Programmed | None
    """None for a digital teacher."""
    score: float | None
    """On in-domain frames, as it will be at its first label; None where that is not defined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest(Request):
    """The first teacher of a group, and where to keep what is known of its training data."""

    teacher: TeacherFiles
    generation: int
    reference: Path
    moments: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiar:
    """What the drift of frames is measured against."""

    gamma: float
    """Of eq. 12."""
    origin: Origin
    """Of gamma."""
    min_samples: int
    """Objects from which on a class is compared."""
    scores: tuple[float, ...]
    """Drift scores of in-domain segments in which a class could be compared."""
    rate: float
    """Objects that the teacher detects on an in-domain frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult(ProgramResult):
    """The first programming, and what is known of the teacher's training data."""

    familiar: Familiar | None
    """None where the method detects no drift."""
    classes: tuple[str, ...]


def prepare(context: Context, request: PrepareRequest) -> PrepareResult:
    """Before the first window: in-domain frames, the first programming, training moments and gamma."""
    config, files = context.config, request.teacher
    frames, segments = reference_frames(config)
    save_frames(frames, request.reference)
    first = _programmed(context, files, frames, generation=request.generation)
    familiar = _familiar(context, files, frames, segments, request.moments) if config.detects_drift else None
    return PrepareResult(
        familiar=familiar,
        classes=known_classes(config),
        programmed=first.programmed,
        score=first.score,
        programming=first.programming,
        crossbar_frames=first.crossbar_frames,
    )


def _familiar(
    context: Context, files: TeacherFiles, frames: FrameBatch, segments: Sequence[slice], out: Path
) -> Familiar:
    """Write the moments of the teacher's training data, and find the threshold that follows from them."""
    config = context.config
    supervision = context.task.label(context.open_teacher(files, None), frames.images, config.labels)
    features, labels = labelled_features(supervision)
    training = moments_by_class(features, labels)
    save_moments(training, out)
    live = [moments_by_class(*labelled_features(supervision[segment])) for segment in segments]
    classes = range(1, len(known_classes(config)) + 1)
    enough = max(math.ceil(len(segments) / 2), segments_needed(config.drift.false_alarm_rate))

    def compared(least: int) -> tuple[float, ...]:
        found = (drift_score(training, one, classes, min_samples=least).score for one in live)
        return tuple(score for score in found if math.isfinite(score))

    asked = config.drift.min_samples
    tried = range(MOST_SAMPLES, 0, -1) if asked is None else (asked,)
    for least in tried:
        if len(scores := compared(least)) >= enough:
            break
    else:
        least, scores = tried[0], compared(tried[0])
    rate = len(labels) / len(frames)
    origin: Origin = "calibrated" if len(scores) >= enough else "paper"
    if config.drift.gamma is not None:
        gamma, origin = config.drift.gamma, "given"
    elif origin == "calibrated":
        gamma = calibrated_threshold(scores, config.drift.false_alarm_rate)
    elif asked is None:
        gamma = PAPERS_GAMMA
    else:
        raise ConfigError(
            f"drift.min_samples = {asked}: in only {len(scores)} of {len(segments)} in-domain segments the teacher is "
            f"sure of as many labels of a class, and to calibrate drift.gamma takes {enough} (it is sure of "
            f"{len(labels)} in {len(frames)} frames); leave drift.min_samples out, or give drift.gamma"
        )
    return Familiar(gamma=gamma, origin=origin, min_samples=least, scores=scores, rate=rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest(Request):
    """A teacher to measure."""

    teacher: TeacherFiles
    reference: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectResult(Result):
    """How good it still is."""

    score: float | None
    """On in-domain frames at its age; None where that is not defined."""


def inspect(context: Context, request: InspectRequest) -> InspectResult:
    """How good the teacher still is on in-domain frames, at its age."""
    reference = load_frames(request.reference)
    gate = ValidationGate.of(context.config, context.device)
    score = gate.score(request.teacher, reference)
    return InspectResult(score=score, crossbar_frames=context.on_crossbar(gate.passes(reference)))


def program(context: Context, request: ProgramRequest) -> ProgramResult:
    """Write the teacher in force onto the crossbar again."""
    frames = load_frames(request.reference)
    return _programmed(context, request.teacher, frames, generation=request.generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest(Request):
    """Intermediate models of a group, the teacher in force, and the one that they are to become."""

    teacher: TeacherFiles
    intermediates: tuple[Path, ...]
    candidate: TeacherFiles
    generation: int
    reference: Path
    first_score: float | None
    """In-domain score of the group's first teacher; None where that is not defined."""
    old_score: float | None
    """The same of the teacher in force; None where it has not been measured at this age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult(ProgramResult):
    """The candidate on the crossbar, and whether it passed the validation gate."""

    verdict: Verdict


def merge(context: Context, request: MergeRequest) -> MergeResult:
    """Average the intermediate models, program the result, and validate it (Algorithm 2, line 14)."""
    old, new = request.teacher, request.candidate
    model, spec = load_model(old.weights)
    model.load_state_dict(average([load_model(path)[0].state_dict() for path in request.intermediates]))
    save_model(model, spec, new.weights)
    reference, gate = load_frames(request.reference), ValidationGate.of(context.config, context.device)
    programmed = _written(context, new, reference, generation=request.generation)
    verdict = gate.compare(old, new, reference, first=request.first_score, known=request.old_score)
    score = verdict.gate_after
    if score is None and programmed is not None:
        score = gate.score(new, reference)
    return MergeResult(
        verdict=verdict,
        programmed=programmed,
        score=score,
        programming=None if programmed is None else programmed.programming,
        crossbar_frames=context.on_crossbar((1 + (request.old_score is None)) * gate.passes(reference)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptTeacherRequest(Request):
    """The teacher of a group, and what it is to adapt to."""

    teacher: TeacherFiles
    uploads: tuple[Path, ...]
    """Frames of each terminal of the group."""
    supervision: tuple[Path, ...]
    """Labels on them; none: the teacher learns without."""
    adapters: Path
    """To write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptTeacherResult(Result):
    """What the adaptation came to."""

    loss: float
    bytes: int
    """Of the adapters."""


def adapt_teacher(context: Context, request: AdaptTeacherRequest) -> AdaptTeacherResult:
    """Digital adapters beside the teacher for the scenes of a group's terminals, which learn through the crossbar."""
    config, task, seed = context.config.adapters, context.task, context.seed
    frames = [load_frames(path).images for path in request.uploads]
    taught = [context.config.deployment.taught(len(images)) for images in frames]
    scenes = [images[:count] for images, count in zip(frames, taught, strict=True)]
    labels = [load_supervision(path)[:count] for path, count in zip(request.supervision, taught, strict=False)]
    model, digital, passing, device = context.open_to_learn(request.teacher)
    drawn = torch_generator(seed.run, seed.name, "adapters")
    adapters = Adapters(digital, config.rank if labels else 0, drawn).to(device)
    with passing:
        if labels:
            adapted = adapt_labelled(task, model, adapters, scenes, labels, config.labelled, seed)
        else:
            adapted = adapt_unlabelled(task, model, scenes, config.unlabelled, seed)
    adapters.save(model, request.adapters)
    return AdaptTeacherResult(
        loss=adapted.trained.loss,
        bytes=request.adapters.stat().st_size,
        crossbar_frames=context.on_crossbar(adapted.passes),
        beside_s=adapted.trained.trained_s if context.analog else 0.0,
    )


def _programmed(context: Context, files: TeacherFiles, frames: FrameBatch, *, generation: int) -> ProgramResult:
    """Program a teacher, and measure it as it will be at its first label."""
    written = _written(context, files, frames, generation=generation)
    if written is None and frames.truth is None:
        return ProgramResult(programmed=None, score=None)
    fresh = replace(files, age_s=context.config.teacher.delay_s)
    gate = ValidationGate.of(context.config, context.device)
    return ProgramResult(
        programmed=written,
        score=gate.score(fresh, frames),
        programming=None if written is None else written.programming,
        crossbar_frames=context.on_crossbar(gate.passes(frames)),
    )


def _written(context: Context, files: TeacherFiles, frames: FrameBatch, *, generation: int) -> Programmed | None:
    config = context.config
    from_labels = config.teacher.update == "adapt" and not isinstance(context.task, ClassLogits)
    return program_teacher(
        context.teaching, config.teacher, files, frames.images, seed=config.seed, generation=generation,
        chip=chip_of(config.refresh, config.teacher.preset), rank=config.adapters.rank if from_labels else 0,
    )  # fmt: skip
