"""Detections drawn onto a frame, for people to look at."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from nestevo_hw.base.errors import InputError

COLOURS = (
    "#ffb000", "#4cc9f0", "#7ae582", "#ff6b9d", "#c8a2ff",
    "#ff8a5b", "#f4f06a", "#5be0c8", "#9db4ff", "#e0e0e0",
)  # fmt: skip
"""One a class, in order; all light enough for black lettering and for dark frames."""


def draw_detections(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor,
    scores: Tensor | None,
    classes: Sequence[str],
    *,
    scale: int = 3,
) -> Image.Image:
    """Draw boxes with class and score onto an enlarged frame.

    Boxes that are not finite or lie wholly outside the frame are not drawn. The most confident lie on top.

    Args:
        image: (3, H, W) uint8, RGB.
        boxes: (N, 4) x1 y1 x2 y2 in pixels of `image`.
        labels: (N,) integers, 1 to number of classes.
        scores: (N,) confidence 0 to 1, or None for ground truth.
        classes: class names; label k is classes[k - 1].
        scale: enlargement of the frame.

    Returns:
        Picture of (W scale, H scale) pixels.

    Raises:
        InputError: shapes or types do not fit.
    """
    _check_shapes(image, boxes, labels, scores)
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    width, height = picture.width * scale, picture.height * scale
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    edges = (boxes.detach().cpu().double() * scale).tolist()
    order = range(len(labels)) if scores is None else scores.detach().cpu().argsort().tolist()
    for i in order:
        corners = _visible(edges[i], width, height)
        if corners is None:
            continue
        label = int(labels[i])
        name = classes[label - 1] if 1 <= label <= len(classes) else f"class {label}"
        text = name if scores is None else f"{name} {float(scores[i]):.2f}"
        _draw_box(draw, corners, text, COLOURS[(label - 1) % len(COLOURS)], (width, height))
    return picture


def _check_shapes(image: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor | None) -> None:
    count = len(labels)
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise InputError(f"expected an image (3, H, W) uint8 but got {tuple(image.shape)} {image.dtype}")
    if boxes.shape != (count, 4) or (scores is not None and scores.shape != (count,)):
        found = None if scores is None else tuple(scores.shape)
        raise InputError(f"expected {count} boxes and scores but got {tuple(boxes.shape)} and {found}")


def _visible(box: list[float], width: int, height: int) -> tuple[int, int, int, int] | None:
    """A box in whole pixels, clipped to the picture; None where nothing of it can be seen."""
    if not all(abs(edge) < 1e9 for edge in box):  # also false for NaN
        return None
    left, right = sorted((round(box[0]), round(box[2])))
    top, bottom = sorted((round(box[1]), round(box[3])))
    if right < 0 or bottom < 0 or left >= width or top >= height:
        return None
    return max(left, 0), max(top, 0), min(right, width - 1), min(bottom, height - 1)


def _draw_box(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], text: str, colour: str, size: tuple[int, int]
) -> None:
    line = max(1, round(min(size) / 200))
    font = ImageFont.load_default(size=max(10.0, min(size) / 30))
    draw.rectangle(box, outline=colour, width=line)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    label_width, label_height = right - left + 6, bottom - top + 4
    x = max(0, min(box[0], size[0] - int(label_width)))
    y = box[1] - label_height if box[1] >= label_height else box[1]
    draw.rectangle((x, y, x + label_width, y + label_height), fill=colour)
    draw.text((x + 3 - left, y + 2 - top), text, font=font, fill="#101418")
