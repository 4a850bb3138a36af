"""Steps that say what frames show: the teacher's words, a terminal's own, or the truth."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nestevo_hw.evolution.drift import drift_score, load_moments, moments_by_class
from nestevo_hw.evolution.steps.payload import Payload, Result, on_crossbar, opened
from nestevo_hw.evolution.teacher import TeacherFiles, open_teacher
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.capabilities import LabelConfirmation, require
from nestevo_hw.tasks.confirmation import LabelRound, load_views, save_views
from nestevo_hw.tasks.supervision import (
    Supervision,
    ground_truth_supervision,
    labelled_features,
    load_supervision,
    save_supervision,
)


def label(payload: Payload) -> Result:
    """The teacher labels one terminal's uploaded frames on the crossbar, confirmed by its peers on the GPU."""
    config, task = opened(payload)
    images = load_frames(Path(payload["upload"])).images
    scene = images if config.scene_norm else None
    teacher = open_teacher(task, config.teacher, TeacherFiles.of(payload), scene)
    if not config.confirms:
        return _written(task.label(teacher, images, config.labels), payload) | on_crossbar(config, len(images))
    models, confirmation = [teacher], config.confirmation
    for path in payload["peers"] if confirmation.ensemble else ():
        peer, _ = load_model(Path(path))
        task.re_estimate(peer, images)
        models.append(peer)
    done = require(task, LabelConfirmation, "labels.confirm").confirmed_labels(
        models, images, config.labels, confirmation, spacing_s=payload["spacing_s"], earlier=_earlier(payload)
    )
    save_views(done.views, Path(payload["views"]))
    return _written(done.supervision, payload) | on_crossbar(config, round(confirmation.teacher_passes * len(images)))


def _earlier(payload: Payload) -> LabelRound | None:
    """The round before, if there was one."""
    paths = payload["earlier"]
    if paths is None:
        return None
    supervision = load_supervision(Path(paths["supervision"]))
    return LabelRound(supervision=supervision, views=load_views(Path(paths["views"])))


def label_own(payload: Payload) -> Result:
    """A terminal labels its own frames, with the BatchNorm statistics of the scene."""
    config, task = opened(payload)
    images = load_frames(Path(payload["upload"])).images
    model, _ = load_model(Path(payload["terminal_in"]))
    task.re_estimate(model, images)
    return _written(task.label(model, images, config.labels), payload)


def label_truly(payload: Payload) -> Result:
    """The truth of the uploaded frames in the form of words: what no teacher can surpass."""
    _, spec = load_model(Path(payload["terminal_in"]))
    return _written(ground_truth_supervision(load_frames(Path(payload["truth"])), len(spec.classes)), payload)


def _written(words: Sequence[Supervision], payload: Payload) -> Result:
    save_supervision(words, Path(payload["supervision"]))
    _, labels = labelled_features(words)
    counts = Counter(labels.tolist())
    doubtful = sum(int(w.annotation.ignore.sum()) for w in words)
    return {"counts": {str(c): counts[c] for c in sorted(counts)}, "doubtful": doubtful}


def describe(payload: Payload) -> Result:
    """Mean feature of what the first teacher, still digital, finds on a terminal's frames; empty if nothing."""
    config, task = opened(payload)
    model, _ = load_model(Path(payload["weights"]))
    words = task.label(model, load_frames(Path(payload["upload"])).images, config.labels)
    features, _ = labelled_features(words)
    return {"feature": features.mean(0).tolist() if len(features) else []}


def judge(payload: Payload) -> Result:
    """Drift of one terminal's frames from the teacher's training data (eq. 11).

    Without the scene's own BatchNorm statistics: they would hide what is to be measured.
    """
    config, task = opened(payload)
    images, files = load_frames(Path(payload["upload"])).images, TeacherFiles.of(payload)
    words = task.label(open_teacher(task, config.teacher, files, None), images, config.labels)
    drift = drift_score(
        load_moments(Path(payload["moments"])),
        moments_by_class(*labelled_features(words)),
        range(1, len(load_model(files.weights)[1].classes) + 1),
        min_samples=config.drift.min_samples,
    )
    return {"score": drift.score, "left_out": list(drift.left_out), **on_crossbar(config, len(images))}
