"""Mean average precision as COCO defines it, by faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_area, box_iou

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.predictions import Prediction

_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScore:
    """Mean average precision over classes, 0 to 1; NaN where no class has an object."""

    map50: float
    """At IoU 0.50."""
    map75: float
    """At IoU 0.75."""
    map: float
    """Mean over IoU 0.50 to 0.95."""
    frames: int


def mean_average_precision(
    predictions: Sequence[Prediction], truth: Sequence[Annotation], num_classes: int
) -> DetectionScore:
    """COCO mean average precision.

    Args:
        predictions: detections of each frame, any order of scores.
        truth: annotation of each frame; regions marked `ignore` count as COCO crowd.
        num_classes: object classes without background.

    Raises:
        InputError: the two have different lengths.
    """
    precision = _precision(predictions, truth, num_classes)
    by_iou = [_mean(p) for p in precision]
    return DetectionScore(map50=by_iou[0], map75=by_iou[5], map=float(np.mean(by_iou)), frames=len(truth))


def precision_by_class(
    predictions: Sequence[Prediction], truth: Sequence[Annotation], num_classes: int
) -> tuple[float, ...]:
    """COCO average precision at IoU 0.50 of each class, NaN where it has no object; arguments as above."""
    at_half = _precision(predictions, truth, num_classes)[0]
    return tuple(_mean(at_half[:, number]) for number in range(num_classes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Detections of one class against truth, at IoU 0.50."""

    right: int
    wrong: int
    missed: int
    """Objects that no detection matches."""


def count_matches(predictions: Sequence[Prediction], truth: Sequence[Annotation], num_classes: int) -> list[Matches]:
    """How many detections of each class are right, as COCO pairs them: the surest first, with the best free object.

    One that matches no object and lies by half in an `ignore` region of its class counts for nothing.

    Args:
        predictions: of each frame; all count, whatever their score.
        truth: annotation of each frame.
        num_classes: object classes without background.
    """
    counts = [[0, 0, 0] for _ in range(num_classes)]
    for prediction, annotation in zip(predictions, truth, strict=True):
        order = prediction["scores"].argsort(descending=True, stable=True)
        for number, count in enumerate(counts, start=1):
            boxes = prediction["boxes"][order][prediction["labels"][order] == number]
            own = annotation.labels == number
            objects, regions = annotation.boxes[own & ~annotation.ignore], annotation.boxes[own & annotation.ignore]
            right, wrong = _paired(boxes, objects, regions)
            for place, more in enumerate((right, wrong, len(objects) - right)):
                count[place] += more
    return [Matches(right=right, wrong=wrong, missed=missed) for right, wrong, missed in counts]


def _paired(boxes: Tensor, objects: Tensor, regions: Tensor) -> tuple[int, int]:
    """How many (K, 4) boxes, the surest first, are right and how many wrong."""
    overlaps, right, wrong = box_iou(boxes, objects), 0, 0
    inside = _intersection(boxes, regions) / box_area(boxes)[:, None].clamp(min=1e-9)
    for row in range(len(boxes)):
        best = int(overlaps[row].argmax()) if len(objects) else -1
        if best >= 0 and overlaps[row, best] >= _HALF:
            right += 1
            overlaps[:, best] = -1.0
        elif not (inside[row] >= _HALF).any():
            wrong += 1
    return right, wrong


def _intersection(boxes: Tensor, regions: Tensor) -> Tensor:
    """(K, R) area that each box shares with each region."""
    first = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    return (torch.minimum(boxes[:, None, 2:], regions[None, :, 2:]) - first).clamp(min=0.0).prod(-1)


def _precision(predictions: Sequence[Prediction], truth: Sequence[Annotation], num_classes: int) -> NDArray[np.float64]:
    """(10, 101, classes): at each IoU from 0.50 to 0.95 and each recall; -1 where a class has no object.

    Raises:
        InputError: predictions and truth have different lengths.
    """
    if len(predictions) != len(truth):
        raise InputError(f"expected predictions for {len(truth)} frames but got {len(predictions)}")
    if not any(bool((~a.ignore).any()) for a in truth):
        return np.full((10, 101, num_classes), -1.0)
    coco = COCO()
    coco.dataset = _dataset(truth, num_classes)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        detections = coco.loadRes(_rows(predictions))
        evaluation = COCOeval_faster(coco, detections, iouType="bbox", print_function=_silent)
        evaluation.run()
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, :, 0, 2].reshape(10, -1, num_classes)
    return precision


def _mean(precision: NDArray[np.float64]) -> float:
    """Of what is known, NaN where nothing is."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


def _silent(*_: object) -> None:
    """Swallow faster-coco-eval's progress text."""


def _xywh(boxes: Tensor) -> list[list[float]]:
    left, top, right, bottom = boxes.double().unbind(-1)
    stacked: list[list[float]] = np.stack(
        [left.numpy(), top.numpy(), (right - left).numpy(), (bottom - top).numpy()], -1
    ).tolist()
    return stacked


def _dataset(truth: Sequence[Annotation], num_classes: int) -> dict[str, object]:
    rows: list[dict[str, object]] = []
    for image_id, annotation in enumerate(truth):
        labels, crowd = annotation.labels.tolist(), annotation.ignore.tolist()
        for box, label, ignored in zip(_xywh(annotation.boxes), labels, crowd, strict=True):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(ignored),
                }
            )
    return {
        "images": [{"id": i} for i in range(len(truth))],
        "categories": [{"id": c} for c in range(1, num_classes + 1)],
        "annotations": rows,
    }


def _rows(predictions: Sequence[Prediction]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for image_id, prediction in enumerate(predictions):
        labels, scores = prediction["labels"].tolist(), prediction["scores"].tolist()
        for box, label, score in zip(_xywh(prediction["boxes"]), labels, scores, strict=True):
            rows.append({"image_id": image_id, "category_id": label, "bbox": box, "score": score})
    return rows
