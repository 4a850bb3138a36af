"""Labels set right by the truth in one respect alone: what that is worth says what a teacher's faults cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou

from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.tasks.supervision import Supervision

Correction = Literal["missed", "wrong", "misplaced"]
"""Which fault is set right: objects that have no label, labels that have no object, or labels beside their object."""
_OVERLAP = 0.5


def corrected(supervision: Sequence[Supervision], frames: FrameBatch, correction: Correction) -> list[Supervision]:
    """Labels of boxes with one kind of fault set right; soft targets stay.

    Args:
        supervision: of each frame.
        frames: the same frames with their truth.
        correction: the fault.
    """
    set_right = _SET_RIGHT[correction]
    return [set_right(one, truth) for one, truth in zip(supervision, frames.truth or (), strict=True)]


def with_missed(said: Supervision, truth: Annotation) -> Supervision:
    """With the true objects that no label stands for; regions that would hide them are left out.

    A label stands for an object of its class that it overlaps by half, one for one. Features of what is added are zero.
    """
    labels, objects = _objects(said.annotation), _objects(truth)
    found = _pairs(labels, objects)
    new = torch.ones(len(objects.labels), dtype=torch.bool)
    new[found[found >= 0]] = False
    boxes, classes = objects.boxes[new], objects.labels[new]
    old = said.annotation
    kept = ~(old.ignore & _hidden(old.boxes, boxes))
    annotation = Annotation(
        boxes=torch.cat([old.boxes[kept], boxes]),
        labels=torch.cat([old.labels[kept], classes]),
        ignore=torch.cat([old.ignore[kept], torch.zeros(len(classes), dtype=torch.bool)]),
    )
    blank = said.features.new_zeros(len(classes), said.features.shape[1])
    return replace(said, annotation=annotation, features=torch.cat([said.features, blank]))


def without_wrong(said: Supervision, truth: Annotation) -> Supervision:
    """Without the labels that stand for no true object; what nobody was sure of stays."""
    right = _pairs(_objects(said.annotation), _objects(truth)) >= 0
    old = said.annotation
    kept = old.ignore.clone()
    kept[~old.ignore] = right
    annotation = Annotation(boxes=old.boxes[kept], labels=old.labels[kept], ignore=old.ignore[kept])
    return replace(said, annotation=annotation, features=said.features[right])


def well_placed(said: Supervision, truth: Annotation) -> Supervision:
    """With the boxes of their objects for labels that stand for one; the others stay."""
    objects, old = _objects(truth), said.annotation
    found = _pairs(_objects(old), objects)
    boxes = old.boxes.clone()
    boxes[(~old.ignore).nonzero()[:, 0][found >= 0]] = objects.boxes[found[found >= 0]]
    return replace(said, annotation=replace(old, boxes=boxes))


_SET_RIGHT: Mapping[Correction, Callable[[Supervision, Annotation], Supervision]] = {
    "missed": with_missed, "wrong": without_wrong, "misplaced": well_placed,
}  # fmt: skip


def _objects(annotation: Annotation) -> Annotation:
    """Without regions that score neither right nor wrong."""
    kept = ~annotation.ignore
    return Annotation.of(annotation.boxes[kept], annotation.labels[kept])


def _pairs(labels: Annotation, objects: Annotation) -> Tensor:
    """(N,) number of the object that each label stands for, -1 for none; those that overlap most are paired first."""
    pairs = torch.full((len(labels.labels),), -1)
    overlap = box_iou(labels.boxes, objects.boxes) * (labels.labels[:, None] == objects.labels)
    while overlap.numel() and float(overlap.max()) >= _OVERLAP:
        label, thing = divmod(int(overlap.argmax()), overlap.shape[1])
        pairs[label] = thing
        overlap[label], overlap[:, thing] = 0.0, 0.0
    return pairs


def _hidden(regions: Tensor, boxes: Tensor) -> Tensor:
    """(R,) which regions overlap one of the boxes by half."""
    if not len(boxes):
        return torch.zeros(len(regions), dtype=torch.bool)
    hidden: Tensor = (box_iou(regions, boxes) >= _OVERLAP).any(1)
    return hidden
