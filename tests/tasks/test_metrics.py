"""mAP against hand-computed cases and pycocotools."""

import contextlib
import io
import math

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.metrics import count_matches, mean_average_precision, precision_by_class


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def found(rows, labels, scores):
    return {"boxes": boxes(*rows), "labels": torch.tensor(labels, dtype=torch.int64), "scores": torch.tensor(scores)}


def test_perfect_detections_score_one():
    truth = [Annotation.of(boxes((0, 0, 10, 10)), torch.tensor([1]))]
    score = mean_average_precision([found([(0, 0, 10, 10)], [1], [0.9])], truth, 2)
    assert (score.map50, score.map75, score.map) == (1.0, 1.0, 1.0)


def test_one_of_two_found_after_a_false_alarm():
    """Recall 0.5 at precision 0.5: 51 of 101 recall points at 0.5 precision."""
    truth = [Annotation.of(boxes((0, 0, 10, 10), (50, 50, 60, 60)), torch.tensor([1, 1]))]
    detections = found([(80, 80, 90, 90), (0, 0, 10, 10)], [1, 1], [0.9, 0.8])
    assert mean_average_precision([detections], truth, 1).map50 == pytest.approx(0.5 * 51 / 101)


def test_a_detection_in_an_ignore_region_is_neither_right_nor_wrong():
    plain = Annotation(
        boxes=boxes((0, 0, 10, 10), (50, 50, 90, 90)),
        labels=torch.tensor([1, 1]),
        ignore=torch.tensor([False, True]),
    )
    detections = found([(60, 60, 70, 70), (0, 0, 10, 10)], [1, 1], [0.9, 0.8])
    assert mean_average_precision([detections], [plain], 1).map50 == 1.0


def test_no_object_gives_nan_and_lengths_must_match():
    empty = Annotation.of(boxes(), torch.zeros(0, dtype=torch.int64))
    assert math.isnan(mean_average_precision([found([], [], [])], [empty], 1).map50)
    with pytest.raises(InputError, match="1 frames but got 0"):
        mean_average_precision([], [empty], 1)


def test_agrees_with_pycocotools_on_random_detections():
    random = torch.Generator().manual_seed(3)
    truth, predictions, images, rows, results = [], [], [], [], []
    for image_id in range(12):
        corner = torch.rand(5, 2, generator=random) * 80
        size = torch.rand(5, 2, generator=random) * 30 + 5
        labels = torch.randint(1, 4, (5,), generator=random)
        truth.append(Annotation.of(torch.cat([corner, corner + size], 1), labels))
        moved = corner + torch.randn(5, 2, generator=random) * 3
        scores = torch.rand(5, generator=random)
        predictions.append({"boxes": torch.cat([moved, moved + size], 1), "labels": labels, "scores": scores})
        images.append({"id": image_id})
        for (x, y), (w, h), k, (mx, my), s in zip(
            corner.tolist(), size.tolist(), labels.tolist(), moved.tolist(), scores.tolist(), strict=True
        ):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image_id,
                    "category_id": k,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
            results.append({"image_id": image_id, "category_id": k, "bbox": [mx, my, w, h], "score": s})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": rows, "categories": [{"id": k} for k in (1, 2, 3)]}
        coco.createIndex()
        oracle = COCOeval(coco, coco.loadRes(results), "bbox")
        oracle.evaluate()
        oracle.accumulate()
        oracle.summarize()
    score = mean_average_precision(predictions, truth, 3)
    assert (score.map, score.map50, score.map75) == pytest.approx(tuple(oracle.stats[:3]), abs=1e-5)


def test_precision_by_class_has_the_mean_and_no_figure_without_objects():
    truth = [Annotation.of(boxes((0, 0, 10, 10), (50, 50, 60, 60)), torch.tensor([1, 3]))]
    detections = [found([(0, 0, 10, 10), (30, 30, 40, 40), (0, 0, 5, 5)], [1, 3, 2], [0.9, 0.8, 0.7])]
    first, second, third = precision_by_class(detections, truth, 3)
    assert (first, third) == (1.0, 0.0)
    assert math.isnan(second)
    assert mean_average_precision(detections, truth, 3).map50 == 0.5


def test_matches_are_counted_as_they_are_paired():
    truth = [
        Annotation(
            boxes=boxes((0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 90, 90)),
            labels=torch.tensor([1, 1, 1]), ignore=torch.tensor([False, False, True]),
        )
    ]  # fmt: skip
    seen = [(0, 0, 10, 9), (0, 0, 10, 10), (60, 60, 70, 70), (45, 60, 55, 70), (80, 0, 90, 10)]
    (first, second) = count_matches([found(seen, [1] * 5, [0.9, 0.8, 0.7, 0.6, 0.5])], truth, 2)
    # The surer box takes the object, the other is wrong; half of a box within a region is enough.
    assert (first.right, first.wrong, first.missed) == (1, 2, 1)
    assert (second.right, second.wrong, second.missed) == (0, 0, 0)
