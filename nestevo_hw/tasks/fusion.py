"""Weighted boxes fusion: detections of one frame by several detectors, or in several views, become one set."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from nestevo_hw.tasks.predictions import Prediction


def weighted_boxes_fusion(views: Sequence[Prediction], *, overlap: float = 0.55) -> dict[str, Tensor]:
    """One set of detections out of several of the same frame (Solovyev et al. 2021).

    Detections of one class that overlap are one object. Its box is the mean of their boxes, weighted by score; its
    score is the mean over all views, of which those that did not find it count as zero. So a score is high only where
    the views agree, and runs lower than that of one detector: thresholds have to be lower too.

    Args:
        views: detections in each view; of several overlapping ones of one view the highest-scoring counts.
        overlap: IoU with an object's highest-scoring detection from which on another one belongs to it, 0 to 1.

    Returns:
        boxes (N, 4), labels (N,) and scores (N,), by falling score of their highest-scoring detection.
    """
    boxes, labels, scores = (torch.cat([view[key] for view in views]) for key in ("boxes", "labels", "scores"))
    view = torch.cat([torch.full_like(v["labels"], number) for number, v in enumerate(views)])
    alike = (box_iou(boxes, boxes) >= overlap) & (labels[:, None] == labels)
    alike.fill_diagonal_(fill_value=True)  # a box without area overlaps nothing, not even itself
    free = torch.ones_like(labels, dtype=torch.bool)
    objects: list[tuple[Tensor, Tensor, Tensor]] = []
    for seed in scores.argsort(descending=True, stable=True).tolist():
        if not free[seed]:
            continue
        members = torch.where(alike[seed] & free)[0]
        free[members] = False
        best = torch.stack([_best(members[view[members] == number], scores) for number in view[members].unique()])
        total = scores[best].sum()
        weights = scores[best] / total if total > 0 else torch.full_like(scores[best], 1 / len(best))
        objects.append((weights @ boxes[best], labels[seed], total / len(views)))
    if not objects:
        return {"boxes": boxes, "labels": labels, "scores": scores}
    return {
        key: torch.stack(column)
        for key, column in zip(("boxes", "labels", "scores"), zip(*objects, strict=True), strict=True)
    }


def _best(members: Tensor, scores: Tensor) -> Tensor:
    return members[scores[members].argmax()]
