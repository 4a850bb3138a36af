"""What every container of labelled samples gives: how many there are, and any of them by index."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.samples.preprocessing import Preprocessing

Sample = Tensor | Mapping[str, Tensor]
"""Stored values of one sample: (C, H, W), a vector (F,), or several tensors by the names of a model's inputs."""
Target = int | Annotation
"""A class, counted from 0, or the objects of a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One sample with its truth."""

    sample: Sample
    target: Target


class Source(Protocol):
    """A container of labelled samples."""

    name: str
    """For messages: its file, folder or function."""
    count: int
    detection: bool
    """Whether the truth is boxes."""
    classes: tuple[str, ...]
    """Names in the order of the labels; empty where the container does not name any."""
    complete: bool
    """Whether `classes` must be all of the model's: folders are counted, and a missing one would shift the rest."""
    labels: Sequence[int] | None
    """Class of each sample, counted from 0; None for boxes, and where it shows only when the sample is read."""

    def read(self, indices: Sequence[int], prepare: Preprocessing) -> Iterator[Labelled]:
        """Samples at the ascending `indices`, in that order; InputError if one cannot be read."""
        ...


def checked_labels(values: object, count: int, source: str) -> tuple[int, ...]:
    """Class labels as whole numbers from 0.

    Args:
        values: array, tensor or sequence (N,).
        count: of the samples.
        source: for messages.

    Raises:
        InputError: they are not N whole numbers from 0 on.
    """
    try:
        found = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except ValueError as error:
        raise InputError(f"{source}: the labels are no array (N,); give one class number a sample") from error
    if found.ndim != 1 or found.dtype.kind not in "iufb":
        raise InputError(
            f"{source}: expected labels (N,) of whole numbers but got {found.dtype} {tuple(found.shape)}; "
            "give one class number a sample"
        )
    if len(found) != count:
        raise InputError(f"{source}: {count} samples but {len(found)} labels; give one label a sample")
    odd = np.flatnonzero(~np.isfinite(found.astype(np.float64)) | (found.astype(np.float64) % 1 != 0) | (found < 0))
    if len(odd):
        raise InputError(f"{source}: label {odd[0]} is {found[odd[0]]}; classes are whole numbers from 0")
    return tuple(int(label) for label in found)


def checked_array(sample: "np.ndarray[Any, Any] | Tensor", index: int, source: str) -> Tensor:
    """One sample of an array as a tensor that holds numbers only.

    Raises:
        InputError: its type is no number's, or it holds NaN or infinities.
    """
    if not isinstance(sample, Tensor):
        if sample.dtype.kind not in "iufb":
            raise InputError(f"{source}: samples of type {sample.dtype} are no numbers; give uint8 or float32")
        widened = {"f": np.float32, "b": np.uint8}.get(sample.dtype.kind)
        if widened is None and sample.dtype != np.uint8:
            widened = np.int64
        sample = torch.from_numpy(np.array(sample, dtype=widened or np.uint8, order="C"))
    elif sample.is_floating_point():
        sample = sample.detach().float().cpu()
    if sample.is_floating_point() and not bool(torch.isfinite(sample).all()):
        raise InputError(f"{source}: sample {index} holds NaN or infinite values; correct or remove it")
    return sample


def as_image(sample: Tensor, *, channels_last: bool) -> Tensor:
    """(C, H, W) of (H, W) or (H, W, C); all else stays as it is."""
    if sample.ndim == 2:
        return sample[None]
    return sample.permute(2, 0, 1).contiguous() if channels_last and sample.ndim == 3 else sample


def has_channels_last(shape: Sequence[int]) -> bool:
    """Whether samples of (A, B, C) are (H, W, C): the last side is a number of channels, and the first is not."""
    return len(shape) == 3 and shape[-1] in (1, 3, 4) and shape[0] not in (1, 3, 4)


def placed(truth: Annotation, size: tuple[int, int], prepare: Preprocessing) -> Annotation:
    """Objects of a frame of (H, W) `size` in the pixels of what the model is given; what is cut off is left out."""
    (height, width), (h, w) = size, prepare.scaled(size)
    (top, left), (bottom, right) = prepare.corner((h, w)), prepare.size or (h, w)
    boxes = truth.boxes * torch.tensor((w / width, h / height, w / width, h / height))
    boxes = boxes - torch.tensor((left, top, left, top), dtype=torch.float32)
    boxes = torch.minimum(boxes.clamp(min=0.0), torch.tensor((right, bottom, right, bottom), dtype=torch.float32))
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Annotation(boxes=boxes[kept], labels=truth.labels[kept], ignore=truth.ignore[kept])
