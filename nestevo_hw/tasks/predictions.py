"""Predictions of a frame, and what is made of them: pseudo-labels, mirrored ones, pictures."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from nestevo_hw.pages.pictures import draw_detections
from nestevo_hw.streams.augment import mirrored_boxes
from nestevo_hw.streams.frame import Annotation

_LEAST_SIDE = 240
"""Pixels of the shorter side of a picture."""
Prediction = Mapping[str, Tensor]
"""Objects of one frame: boxes (N, 4) x1 y1 x2 y2 pixels, labels (N,), scores (N,) in 0..1. The class of a whole image
is an object that fills the frame."""


def confident_rows(scores: Tensor, high_confidence: float, low_confidence: float) -> tuple[Tensor, Tensor]:
    """Which of (N,) scores become pseudo-labels: rows (K,) of objects, then of ignore regions; and (K,) which ignore.

    Args:
        scores: of predictions, 0 to 1.
        high_confidence: score from which on a prediction is an object.
        low_confidence: score from which on it is an ignore region; below, it is left out.
    """
    kept = torch.where(scores >= low_confidence)[0]
    ignore = scores[kept] < high_confidence
    order = torch.argsort(ignore.int(), stable=True)
    return kept[order], ignore[order]


def pseudo_labels(prediction: Prediction, high_confidence: float, low_confidence: float) -> Annotation:
    """Objects, then ignore regions, of one frame's predictions; thresholds as in `confident_rows`."""
    rows, ignore = confident_rows(prediction["scores"], high_confidence, low_confidence)
    return Annotation(boxes=prediction["boxes"][rows], labels=prediction["labels"][rows], ignore=ignore)


def mirrored_prediction(prediction: Prediction, width: int) -> dict[str, Tensor]:
    """Predictions of a frame of a width in pixels after it is mirrored left to right."""
    return {**prediction, "boxes": mirrored_boxes(prediction["boxes"], width)}


def draw_prediction(
    image: Tensor, prediction: Prediction, classes: Sequence[str], *, confidence: float = 0.5
) -> Image.Image:
    """A (3, H, W) uint8 frame, enlarged, with its predictions of at least a confidence."""
    shown = prediction["scores"] >= confidence
    boxes, labels, scores = (prediction[key][shown] for key in ("boxes", "labels", "scores"))
    return draw_detections(image, boxes, labels, scores, classes, scale=_scale(image))


def draw_truth(image: Tensor, truth: Annotation, classes: Sequence[str]) -> Image.Image:
    """A (3, H, W) uint8 frame, enlarged, with its true objects; regions that do not count are left out."""
    counts = ~truth.ignore
    return draw_detections(image, truth.boxes[counts], truth.labels[counts], None, classes, scale=_scale(image))


def _scale(image: Tensor) -> int:
    """By which a frame is enlarged, so that its boxes and their names can be told apart."""
    return max(3, -(-_LEAST_SIDE // min(image.shape[1:])))
