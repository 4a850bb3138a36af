"""Mean average precision as COCO defines it, by faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.predictions import Prediction


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
    if len(predictions) != len(truth):
        raise InputError(f"expected predictions for {len(truth)} frames but got {len(predictions)}")
    if not any(bool((~a.ignore).any()) for a in truth):
        return DetectionScore(map50=float("nan"), map75=float("nan"), map=float("nan"), frames=len(truth))
    coco = COCO()
    coco.dataset = _dataset(truth, num_classes)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        detections = coco.loadRes(_rows(predictions))
        evaluation = COCOeval_faster(coco, detections, iouType="bbox", print_function=_silent)
        evaluation.run()
    precision = evaluation.eval["precision"][:, :, :, 0, 2].reshape(10, -1, num_classes)
    by_iou = np.array([p[p > -1].mean() if (p > -1).any() else np.nan for p in precision])
    return DetectionScore(map50=float(by_iou[0]), map75=float(by_iou[5]), map=float(by_iou.mean()), frames=len(truth))


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
