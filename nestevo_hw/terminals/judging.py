"""What a terminal makes of its own model without any label, as `evolution.trigger` does, in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.terminals.runtime import Deployed, Found, Frame
from nestevo_hw.wire.signals import BRIGHTER, SURE, Signals

OVERLAP = 0.5
"""IoU from which on two boxes are of one object."""
NOTHING = Found(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))
_RECALLS = np.linspace(0.0, 1.0, 101)


def judge(model: Deployed, frames: Sequence[Frame]) -> Signals:
    """Signals of a model on frames of its own; nothing else is needed."""
    plain = [model.look(frame) for frame in frames]
    scores = np.concatenate([found.scores for found in plain]) if plain else np.empty(0, np.float32)
    total = float(scores.sum())
    confidence = float((scores.astype(np.float64) ** 2).sum()) / total if total > 0 else 0.0
    changed = [_changed_view(model, frame) for frame in frames]
    believed = [found.above(SURE) for found in plain]
    return Signals(agreement=agreement(model, believed, changed), confidence=min(confidence, 1.0))


def agreement(model: Deployed, believed: Sequence[Found], predicted: Sequence[Found]) -> float:
    """How well predictions agree with what is believed of the same frames, 0 to 1, as the model's task scores it."""
    return (mean_precision if model.detects else same_class)(predicted, believed)


def mean_precision(
    predictions: Sequence[Found], truth: Sequence[Found], ignored: Sequence[Found] | None = None
) -> float:
    """Average precision at `OVERLAP`, the mean over classes that the truth has, as COCO defines it; 0 without any.

    Args:
        predictions: of each frame.
        truth: what is on it.
        ignored: regions of it in which a detection of their class that finds no object counts as nothing.
    """
    frames = list(zip(predictions, truth, ignored or [NOTHING] * len(truth), strict=True))
    each = [precision([hits(label, *frame) for frame in frames]) for label in shown(truth)]
    return sum(each) / len(each) if each else 0.0


def shown(truth: Sequence[Found]) -> list[int]:
    """Classes that are there."""
    return sorted({int(label) for found in truth for label in found.labels})


def same_class(predictions: Sequence[Found], truth: Sequence[Found]) -> float:
    """Share of the frames with a class in which it is predicted; 0 without any."""
    pairs = [(found.labels[:1].tolist(), true.labels.tolist()) for found, true in zip(predictions, truth, strict=True)]
    known = [mine == theirs for mine, theirs in pairs if theirs]
    return sum(known) / len(known) if known else 0.0


def _changed_view(model: Deployed, frame: Frame) -> Found:
    """What the model sees where the frame is brighter, and for a detector mirrored: not all classes bear that."""
    view = np.clip(frame.astype(np.float32) * BRIGHTER, 0, 255).astype(np.uint8)
    if not model.detects:
        return model.look(view)
    found = model.look(np.ascontiguousarray(view[:, ::-1]))
    left, right = found.boxes[:, 0], found.boxes[:, 2]
    width = np.float32(frame.shape[1])
    boxes = np.stack([width - right, found.boxes[:, 1], width - left, found.boxes[:, 3]], 1)
    return Found(boxes, found.labels, found.scores)


@dataclass(frozen=True, slots=True)
class Hits:
    """What a model finds of one class on one frame, the surest first."""

    scores: NDArray[np.float32]
    right: NDArray[np.bool_]
    """Whether each finds an object."""
    objects: int
    """That are there."""


def hits(label: int, found: Found, true: Found, ignored: Found) -> Hits:
    """Detections of a class, held against its objects; without those that lie by half or more in an ignored region."""
    mine, theirs = found.labels == label, true.boxes[true.labels == label]
    order = np.argsort(-found.scores[mine], kind="stable")
    boxes, scores = found.boxes[mine][order], found.scores[mine][order]
    right = np.array(matched(boxes, theirs), bool)
    counts = right | (_inside(boxes, ignored.boxes[ignored.labels == label]) < OVERLAP)
    return Hits(scores[counts], right[counts], len(theirs))


def precision(frames: Sequence[Hits]) -> float:
    """Mean precision over 101 levels of recall."""
    scores = np.concatenate([one.scores for one in frames])
    objects = sum(one.objects for one in frames)
    if not len(scores) or not objects:
        return 0.0
    right = np.concatenate([one.right for one in frames])[np.argsort(-scores, kind="stable")].cumsum()
    found = np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]
    at = np.searchsorted(right / objects, _RECALLS)
    return float(np.where(at < len(found), found[np.minimum(at, len(found) - 1)], 0.0).mean())


def matched(boxes: NDArray[np.float32], objects: NDArray[np.float32]) -> list[bool]:
    """Whether each box, the surest first, finds an object that no surer one has."""
    if not len(objects):
        return [False] * len(boxes)
    free, hits = np.ones(len(objects), bool), list[bool]()
    for overlaps in _overlaps(boxes, objects):
        best = int(np.argmax(np.where(free, overlaps, -1.0)))
        hit = bool(free[best] and overlaps[best] >= OVERLAP)
        free[best] &= not hit
        hits.append(hit)
    return hits


def _overlaps(boxes: NDArray[np.float32], objects: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, M) intersection over union."""
    shared = _shared(boxes, objects)
    overlaps: NDArray[np.float64] = shared / np.maximum(_areas(boxes)[:, None] + _areas(objects) - shared, 1e-12)
    return overlaps


def _inside(boxes: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) the largest share of each box that lies in one of the regions."""
    shares = _shared(boxes, regions) / np.maximum(_areas(boxes)[:, None], 1e-12)
    inside: NDArray[np.float64] = shares.max(1, initial=0.0)
    return inside


def _shared(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, M) area of the intersection, square pixels."""
    a, b = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    area: NDArray[np.float64] = (
        (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(min=0).prod(-1)
    )
    return area


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    sides = boxes.astype(np.float64)
    area: NDArray[np.float64] = (sides[:, 2:] - sides[:, :2]).prod(-1)
    return area
