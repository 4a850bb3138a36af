"""Steps that label frames: the teacher, a terminal itself, or the truth; and drift detection."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nestevo_hw.evolution.drift import drift_score, load_moments, moments_by_class, sees_too_little
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.evolution.teacher import TeacherFiles
from nestevo_hw.evolution.teaching import confirming_of
from nestevo_hw.models.checkpoint import read_spec
from nestevo_hw.streams.background import LEAST_S, amplify_foreground, stands_still
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.confirmation import LabelRound, load_views, save_views
from nestevo_hw.tasks.corrections import Correction, corrected
from nestevo_hw.tasks.supervision import (
    Supervision,
    ground_truth_supervision,
    labelled_features,
    load_supervision,
    save_supervision,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFiles:
    """One round of labels on a terminal's frames, as stored."""

    supervision: Path
    views: Path
    """Detections of every view and ensemble member, which a later round counts as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRequest(Request):
    """Frames for the teacher to label."""

    teacher: TeacherFiles
    upload: Path
    ensemble: tuple[Path, ...]
    """Further models that know the scene and confirm the teacher."""
    spacing_s: float
    """Between two frames, seconds."""
    earlier: LabelFiles | None
    """Round before, whose views count as well."""
    moves: bool | None
    """Whether the camera moves, where a round before has found out."""
    out: LabelFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult(Result):
    """What was labelled."""

    counts: dict[int, int]
    """Objects by class."""
    taught: dict[int, int]
    """Of them those on frames that are learned from."""
    moves: bool = False
    """Whether no background was subtracted because the camera moves."""


def label(context: Context, request: LabelRequest) -> LabelResult:
    """The teacher labels one terminal's uploaded frames on the crossbar, confirmed by an ensemble."""
    config, task, teaching = context.config, context.task, context.teaching
    images = context.images(request.upload)
    if not config.confirms:
        teacher = context.open_teacher(request.teacher, images if config.scene_norm else None)
        supervision = teaching.label(teacher, images, config.labels)
        passes = context.on_crossbar(len(images) * (1 + config.scene_norm))
        return _written(context, supervision, request.out.supervision, crossbar_frames=passes)
    confirming, confirmation = confirming_of(config), config.confirmation
    wanted = (
        confirming.subtracts_background
        and confirmation.amplify > 1.0
        and (len(images) - 1) * request.spacing_s >= LEAST_S
    )
    moves = wanted and (not stands_still(images) if request.moves is None else request.moves)
    shown = amplify_foreground(images, factor=confirmation.amplify) if wanted and not moves else images
    # No stored statistics are of frames that were changed.
    scene = shown if config.scene_norm or shown is not images else None
    models = [context.open_teacher(request.teacher, scene)]
    for path in request.ensemble if confirmation.ensemble else ():
        member, _ = context.load(path)
        task.re_estimate(member, shown)
        models.append(member)
    labelled = confirming.confirmed_labels(
        models, shown, config.labels, confirmation, spacing_s=request.spacing_s, earlier=_read(request.earlier)
    )
    save_views(labelled.views, request.out.views)
    passes = confirming.teacher_passes(confirmation, len(images), (images.shape[2], images.shape[3]))
    if scene is not None and config.teacher.labeller is None:  # which has no statistics to take
        passes += len(scene)
    written = _written(
        context, labelled.supervision, request.out.supervision, crossbar_frames=context.on_crossbar(passes)
    )
    return replace(written, moves=moves)


def _read(files: LabelFiles | None) -> LabelRound | None:
    if files is None:
        return None
    return LabelRound(supervision=load_supervision(files.supervision), views=load_views(files.views))


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfLabelRequest(Request):
    """A terminal's model and frames to label with it."""

    model: Path
    upload: Path
    out: Path


def label_themselves(context: Context, request: SelfLabelRequest) -> LabelResult:
    """A terminal labels its own frames, with the BatchNorm statistics of the scene."""
    images = context.images(request.upload)
    model, _ = context.load(request.model)
    context.task.re_estimate(model, images)
    return _written(context, context.task.label(model, images, context.config.labels), request.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruthRequest(Request):
    """Uploaded frames with their truth."""

    model: Path
    """Whose classes count."""
    truth: Path
    labels: Path | None = None
    """Of a teacher, of which one fault is set right; None: the truth takes their place."""
    correction: Correction = "missed"
    """That fault."""
    out: Path


def ground_truth(context: Context, request: GroundTruthRequest) -> LabelResult:
    """The truth of the uploaded frames as supervision: what no teacher can surpass; or a teacher's labels with it."""
    frames = load_frames(request.truth)
    if request.labels is not None:
        return _written(context, corrected(load_supervision(request.labels), frames, request.correction), request.out)
    classes = len(read_spec(request.model).classes)
    return _written(context, ground_truth_supervision(frames, classes), request.out)


def _written(
    context: Context, supervision: Sequence[Supervision], path: Path, *, crossbar_frames: int | None = None
) -> LabelResult:
    save_supervision(supervision, path)
    taught = context.config.deployment.taught_of(supervision)
    return LabelResult(counts=_counted(supervision), taught=_counted(taught), crossbar_frames=crossbar_frames)


def _counted(supervision: Sequence[Supervision]) -> dict[int, int]:
    _, labels = labelled_features(supervision)
    return dict(sorted(Counter(labels.tolist()).items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest(Request):
    """A terminal's first frames."""

    weights: Path
    """Of the first teacher."""
    upload: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeResult(Result):
    """Where a terminal's frames lie in the teacher's feature space."""

    feature: tuple[float, ...]
    """(D,); empty where the teacher detects nothing."""


def describe(context: Context, request: DescribeRequest) -> DescribeResult:
    """Mean feature of what the first teacher, still digital, detects on a terminal's frames."""
    model, _ = context.load(request.weights)
    supervision = context.task.label(model, context.images(request.upload), context.config.labels)
    features, _ = labelled_features(supervision)
    return DescribeResult(feature=tuple(features.mean(0).tolist()) if len(features) else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRequest(Request):
    """Frames that may have drifted."""

    teacher: TeacherFiles
    upload: Path
    moments: Path
    """Of the teacher's training data."""
    familiar_rate: float
    """Objects that the teacher detects on an in-domain frame."""
    min_samples: int
    """Objects from which on a class is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult(Result):
    """Drift of one terminal (eq. 11)."""

    score: float | None
    """None where no class could be compared."""
    left_out: tuple[int, ...]
    """Classes with too few objects to compare."""
    blind: bool
    """Whether no class could be compared because the teacher detects far less than on in-domain frames."""


def detect_drift(context: Context, request: DriftRequest) -> DriftResult:
    """Drift of one terminal's frames from the teacher's training data (eq. 11).

    Without the scene's own BatchNorm statistics: they would hide what is to be measured.
    """
    config, task = context.config, context.task
    images = context.images(request.upload)
    supervision = task.label(context.open_teacher(request.teacher, None), images, config.labels)
    features, labels = labelled_features(supervision)
    drift = drift_score(
        load_moments(request.moments),
        moments_by_class(features, labels),
        range(1, len(read_spec(request.teacher.weights).classes) + 1),
        min_samples=request.min_samples,
    )
    compared = math.isfinite(drift.score)
    return DriftResult(
        score=drift.score if compared else None,
        left_out=drift.left_out,
        blind=not compared
        and sees_too_little(
            len(labels), len(images), familiar_rate=request.familiar_rate, min_samples=request.min_samples
        ),
        crossbar_frames=context.on_crossbar(len(images)),
    )
