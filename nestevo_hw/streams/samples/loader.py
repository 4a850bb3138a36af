"""Samples from a function of the user's own, `package.module:loader`.

It takes no argument and returns either a pair (inputs, labels) or an object with a length whose items are such pairs of
one sample, as map-style datasets of PyTorch are. Inputs are arrays or tensors: (N, C, H, W), (N, H, W), (N, H, W, C) or
(N, F) together, or a sequence of samples; of a model with several inputs a dictionary of them by name, as the model
takes them. Labels are whole numbers from 0, or for detectors a dictionary a frame: boxes (K, 4) x1 y1 x2 y2 in pixels
of the frame as it is given, labels (K,) from 1.
"""

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.plugins import FAULTS, call_named, told
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.samples.source import (
    Labelled,
    Sample,
    Target,
    as_image,
    checked_array,
    checked_labels,
    has_channels_last,
    placed,
)

_EXPECTED = "return (inputs, labels), or a dataset whose items are (input, label)"


class Given:
    """Samples that are there already, of a function or handed over in Python.

    Args:
        name: for messages.
        inputs: arrays or tensors of N samples, or a sequence of N.
        labels: N classes from 0, or N dictionaries of boxes and labels.
        classes: names, if known.

    Raises:
        InputError: the two have different lengths, or labels are no classes.
    """

    complete = False

    def __init__(self, name: str, inputs: Any, labels: Any, classes: Sequence[str] = ()) -> None:  # noqa: ANN401
        self.name, self.classes, self._inputs = name, tuple(classes), inputs
        self.count = _length(inputs, name)
        if not self.count:
            raise InputError(f"{name} gives no samples; {_EXPECTED}")
        self.detection = not isinstance(labels, Tensor | np.ndarray) and _length(labels, name) > 0 and isinstance(
            labels[0], Mapping
        )  # fmt: skip
        if self.detection:
            if len(labels) != self.count:
                raise InputError(f"{name}: {self.count} samples but {len(labels)} labels; give one a sample")
            self.labels: Sequence[int] | None = None
            self._targets: Sequence[Any] = labels
        else:
            self.labels = self._targets = checked_labels(labels, self.count, name)

    def read(self, indices: Sequence[int], prepare: Preprocessing) -> Iterator[Labelled]:
        """See `Source.read`."""
        for index in indices:
            if isinstance(self._inputs, Mapping):
                row: Any = {key: value[index] for key, value in self._inputs.items()}
            else:
                row = self._inputs[index]
            yield _labelled(row, self._targets[index], index, self.name, prepare)


class Items:
    """A map-style dataset, read item by item; labels are known when their samples are read.

    Raises:
        InputError: it is empty, or its first item is no pair.
    """

    complete = False
    labels: Sequence[int] | None = None

    def __init__(self, name: str, items: Any, classes: Sequence[str] = ()) -> None:  # noqa: ANN401
        self.name, self._items, self.count = name, items, len(items)
        self.classes = tuple(classes)
        if not self.count:
            raise InputError(f"{name} gives no samples; {_EXPECTED}")
        self.detection = isinstance(self._pair(0)[1], Mapping)

    def read(self, indices: Sequence[int], prepare: Preprocessing) -> Iterator[Labelled]:
        """See `Source.read`."""
        for index in indices:
            row, label = self._pair(index)
            yield _labelled(row, label, index, self.name, prepare)

    def _pair(self, index: int) -> tuple[Any, Any]:
        try:
            item = self._items[index]
        except FAULTS as error:  # of somebody's own code
            raise InputError(f"{self.name}: item {index} cannot be read: {told(error)}; correct the dataset") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise InputError(f"{self.name}: item {index} is a {type(item).__name__}, not (input, label); {_EXPECTED}")
        return item[0], item[1]


def call_loader(name: str, classes: Sequence[str] = ()) -> Given | Items:
    """The samples of `package.module:loader`.

    Raises:
        ConfigError: there is no such function, or it fails.
        InputError: it returns something else.
    """
    found = call_named(name)
    if isinstance(found, tuple | list) and len(found) == 2 and not isinstance(found[0], tuple):
        return Given(name, found[0], found[1], classes)
    if isinstance(found, Sized) and hasattr(found, "__getitem__") and not isinstance(found, Mapping | str):
        return Items(name, found, classes)
    raise InputError(f"{name} returned a {type(found).__name__}; {_EXPECTED}")


def _length(values: Any, name: str) -> int:  # noqa: ANN401 - of somebody's own code
    if isinstance(values, Mapping) and values:
        lengths = {key: _length(value, name) for key, value in values.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise InputError(f"{name}: inputs have different numbers of samples: {listed}")
        return next(iter(lengths.values()))
    if not isinstance(values, Sized) or not hasattr(values, "__getitem__"):
        raise InputError(f"{name}: a {type(values).__name__} is no sequence of samples; {_EXPECTED}")
    return len(values)


def _labelled(row: Any, label: Any, index: int, name: str, prepare: Preprocessing) -> Labelled:  # noqa: ANN401
    if isinstance(row, Mapping):
        sample: Sample = {str(key): _array(value, index, name) for key, value in row.items()}
        return Labelled(sample=sample, target=_target(label, index, name, None, prepare))
    stored = _array(row, index, name)
    stored = as_image(stored, channels_last=has_channels_last(stored.shape))
    if stored.ndim not in (1, 3):
        raise InputError(f"{name}: sample {index} has shape {tuple(stored.shape)}; give (C, H, W), (H, W) or (F,)")
    sample = prepare.array(stored, name)
    size = (stored.shape[1], stored.shape[2]) if stored.ndim == 3 else None
    return Labelled(sample=sample, target=_target(label, index, name, size, prepare))


def _array(value: Any, index: int, name: str) -> Tensor:  # noqa: ANN401 - of somebody's own code
    try:
        sample = checked_array(value if isinstance(value, Tensor) else np.asarray(value), index, name)
    except ValueError as error:
        raise InputError(f"{name}: sample {index} is no array; {_EXPECTED}") from error
    return sample[None] if sample.ndim == 0 else sample


def _target(
    label: Any, index: int, name: str, size: tuple[int, int] | None, prepare: Preprocessing  # noqa: ANN401
) -> Target:  # fmt: skip
    if not isinstance(label, Mapping):
        return checked_labels([label.item() if hasattr(label, "item") else label], 1, f"{name}: sample {index}")[0]
    if size is None or "boxes" not in label or "labels" not in label:
        raise InputError(f"{name}: sample {index}: give boxes (K, 4) and labels (K,) of an image")
    boxes = torch.as_tensor(label["boxes"], dtype=torch.float32).reshape(-1, 4)
    labels = torch.as_tensor(label["labels"]).reshape(-1).long()
    if len(boxes) != len(labels) or not bool(torch.isfinite(boxes).all()) or bool((labels < 1).any()):
        raise InputError(f"{name}: sample {index}: need as many labels, from 1, as boxes of finite numbers")
    return placed(Annotation.of(boxes, labels), size, prepare)
