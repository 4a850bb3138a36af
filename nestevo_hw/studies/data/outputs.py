"""What a model says, whatever it wraps it in: class scores of each input, or detections of each frame."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.crossbar.outputs import NOT_FINITE

_NAMES = ("logits", "out", "scores", "probabilities")
"""Under which models put their class scores beside other things."""
_BOXES, _SCORES, _LABELS = ("boxes", "pred_boxes"), ("scores",), ("labels", "classes", "pred_classes")
_ROW = 6
"""x1, y1, x2, y2, score, class."""


def class_scores(output: object, count: int) -> Tensor:
    """One row of scores an input.

    Args:
        output: (N, classes), perhaps under a name such as "logits", or the first of several outputs of that shape; on
            any device, from which the scores are brought back.
        count: N.

    Raises:
        InputError: nothing in it is of that shape, or there is one score alone.
    """
    found = next((tensor for tensor in _candidates(output) if _is_scores(tensor, count)), None)
    if found is None:
        raise InputError(
            f"expected class scores ({count}, classes) from the model but got {described(output)}; return them, "
            'alone or as {"logits": scores}'
        )
    return found.detach().cpu().float().flatten(1)


def detections(output: object, count: int, first_class: int | None = None) -> list[dict[str, Tensor]]:
    """Boxes (K, 4), labels (K,) from 1 and scores (K,) of each frame.

    Args:
        output: a list of dictionaries as of torchvision's detectors, one such dictionary of tensors for all frames, or
            rows x1, y1, x2, y2, score, class as (N, K, 6) or a list of (K, 6). In pixels of the frames.
        count: N.
        first_class: number that the model gives its first class; None: 1 where labels have a name of their own, 0 in
            rows.

    Raises:
        InputError: it is nothing of this kind.
    """
    frames = _frames(output, count)
    if frames is None:
        raise InputError(
            f"expected detections of {count} frames from the model but got {described(output)}; return a list of "
            "dictionaries with boxes, labels and scores, or rows x1, y1, x2, y2, score, class of each frame"
        )
    return [_detection(frame, first_class) for frame in frames]


def check_finite(name: str, output: object) -> None:
    """Refuse outputs that nothing relates to; a score of minus infinity, as of a class that is ruled out, is one.

    Raises:
        InputError: there is NaN or infinity in them.
    """
    if any(bool((tensor.isnan() | tensor.isposinf()).any()) for tensor in tensors_of(output)):
        raise InputError(f"{name}: {NOT_FINITE}")


def described(output: object) -> str:
    """An output's shape in words."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return "{" + ", ".join(f"{key}: {_short(value)}" for key, value in output.items()) + "}"
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {', '.join(map(_short, output[:4])) or 'nothing'}"
    return f"a {type(output).__name__}"


def _short(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _is_scores(tensor: Tensor, count: int) -> bool:
    shape = tensor.shape
    flat = tensor.ndim >= 2 and all(side == 1 for side in shape[2:])
    return flat and shape[0] == count and shape[1] > 1 and tensor.is_floating_point()


def _candidates(output: object) -> Iterator[Tensor]:
    """Tensors in an output, those under a usual name first."""
    if isinstance(output, Tensor):
        yield output
        return
    if dataclasses.is_dataclass(output) and not isinstance(output, type | Mapping):
        output = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, Mapping):
        for name in sorted(output, key=lambda name: name not in _NAMES):
            yield from _candidates(output[name])
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _candidates(value)


def _frames(output: object, count: int) -> list[object] | None:
    """An output frame by frame; None if it holds no detections."""
    if isinstance(output, Mapping):
        return _split(output, count)
    if isinstance(output, Tensor):
        if is_rows(output, count):
            return list(output)
        return [output] if _rows_alone(output) and count == 1 else None
    if not isinstance(output, list | tuple):
        return None
    if len(output) == count and all(_rows_alone(entry) or _named(entry) is not None for entry in output):
        return list(output)
    # Detections first, then whatever else: (detections, losses), or [rows] of a file with several outputs.
    return _frames(output[0], count) if output else None


def _split(output: Mapping[object, object], count: int) -> list[object] | None:
    """A dictionary of tensors for all frames."""
    named = _named(output)
    if named is None:
        values = [value for value in output.values() if isinstance(value, Tensor)]
        return next((found for value in values if (found := _frames(value, count)) is not None), None)
    boxes, labels, scores = named
    if boxes.ndim == 2 and count == 1:
        return [output]
    if boxes.ndim == 3 and len(boxes) == count and labels.ndim == scores.ndim == 2:
        return [dict(zip(("boxes", "labels", "scores"), one, strict=True)) for one in zip(*named, strict=True)]
    return None


def _named(entry: object) -> tuple[Tensor, Tensor, Tensor] | None:
    """Boxes, labels and scores of a dictionary."""
    if not isinstance(entry, Mapping):
        return None
    found = [next((entry[name] for name in names if name in entry), None) for names in (_BOXES, _LABELS, _SCORES)]
    boxes, labels, scores = found
    if isinstance(boxes, Tensor) and isinstance(labels, Tensor) and isinstance(scores, Tensor):
        return boxes, labels, scores
    return None


def _rows_alone(entry: object) -> bool:
    return isinstance(entry, Tensor) and entry.ndim == 2 and entry.shape[1] == _ROW


def _detection(frame: object, first_class: int | None) -> dict[str, Tensor]:
    named = _named(frame)
    if named is not None:
        boxes, labels, scores = (tensor.detach().cpu() for tensor in named)
        first = 1 if first_class is None else first_class
    else:
        rows = frame.detach().cpu() if isinstance(frame, Tensor) else torch.zeros(0, _ROW)
        boxes, scores, labels = rows[:, :4], rows[:, 4], rows[:, 5].round()
        first = first_class or 0
    # Files that always give so many rows fill up with empty ones.
    real = torch.isfinite(boxes).all(1) & torch.isfinite(scores) & (boxes[:, 2:] > boxes[:, :2]).all(1) & (scores > 0)
    numbers = labels[real].long() - first + 1
    known = numbers >= 1
    return {"boxes": boxes[real][known].float(), "labels": numbers[known], "scores": scores[real][known].float()}


def is_rows(output: object, count: int) -> bool:
    """Whether an output is rows x1, y1, x2, y2, score, class for each of N frames."""
    return isinstance(output, Tensor) and output.ndim == 3 and len(output) == count and output.shape[-1] == _ROW


def tensors_of(output: object) -> Sequence[Tensor]:
    """All float tensors of an output, in its order, on the CPU."""
    return [tensor.cpu() for tensor in _candidates(output) if tensor.is_floating_point()]
