"""How far labels agree with others of the same recording."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.streams.annotations import load_labels
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.label_file import FrameLabels
from nestevo_hw.streams.matching import check_size, match
from nestevo_hw.streams.sources import FrameSource
from nestevo_hw.tasks.metrics import Matches, count_matches, precision_by_class
from nestevo_hw.tasks.predictions import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Labels that exist."""

    file: Path
    truth: Mapping[int, Annotation]
    """By frame, in its own pixels."""
    left_out: tuple[str, ...]
    """Categories that the labeller does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAgreement:
    """Of one class."""

    name: str
    objects: int
    """In the labels that exist."""
    precision: float | None
    """COCO average precision at IoU 0.50 of all detections, whatever their score; None without an object."""
    labels: Matches
    """Of the labels as written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """On the frames that both label."""

    file: str
    frames: int
    map50: float | None
    """Mean over the classes that have objects."""
    classes: tuple[ClassAgreement, ...]
    """Those that one of the two has."""
    left_out: tuple[str, ...]


def known_labels(
    path: Path, source: FrameSource, clip: Path, class_map: Mapping[str, str], classes: Sequence[str]
) -> Known:
    """Read labels in the classes of a labeller, whose class map goes for them, too.

    Raises:
        ConfigError: no category is one of these classes.
        InputError: they cannot be read, or do not belong to the recording.
    """
    categories = load_labels(path).classes
    mapping = {name: class_map.get(name, name) for name in categories}
    mapping = {name: target for name, target in mapping.items() if target in classes}
    if not mapping:
        raise ConfigError(f"--against {path}: none of its categories ({', '.join(categories)}) is a class of the "
                          "labeller; give both with --class-map")  # fmt: skip
    found = match(load_labels(path, class_map=mapping, classes=classes), path, source, clip)
    truth = {}
    for index, image in sorted(found.items()):
        size = source.size_of(index)
        check_size(image, path, size, f"frame {index} of {clip}")
        truth[index] = image.scaled_to(size)
    return Known(file=path, truth=truth, left_out=tuple(name for name in categories if name not in mapping))


def agreement(
    detections: Sequence[FrameLabels], labels: Sequence[FrameLabels], known: Known, classes: Sequence[str]
) -> Agreement:
    """Compare on the frames that both have; regions to ignore count as COCO crowd.

    Args:
        detections: of each frame, with all scores.
        labels: of each frame, as written.
        known: what they are compared with.
        classes: of the labeller.
    """
    truth = [known.truth[frame.index] for frame in labels if frame.index in known.truth]
    found = [_prediction(frame, len(frame.boxes)) for frame in detections if frame.index in known.truth]
    written = [_prediction(frame, frame.sure) for frame in labels if frame.index in known.truth]
    precision = precision_by_class(found, truth, len(classes))
    matches = count_matches(written, truth, len(classes))
    each = tuple(
        ClassAgreement(
            name=name, objects=matches[k].right + matches[k].missed, labels=matches[k],
            precision=None if np.isnan(precision[k]) else precision[k],
        )
        for k, name in enumerate(classes)
    )  # fmt: skip
    known_ones = [one.precision for one in each if one.precision is not None]
    return Agreement(
        file=str(known.file), frames=len(truth), map50=float(np.mean(known_ones)) if known_ones else None,
        classes=tuple(one for one in each if one.objects or one.labels.right or one.labels.wrong),
        left_out=known.left_out,
    )  # fmt: skip


def _prediction(frame: FrameLabels, count: int) -> Prediction:
    return {
        "boxes": torch.tensor(frame.boxes[:count], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(frame.labels[:count], dtype=torch.int64),
        "scores": torch.tensor(frame.scores[:count], dtype=torch.float32),
    }
