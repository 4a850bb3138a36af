"""NumPy archives (.npz) of samples and labels, read row by row: only what is asked for is kept in memory."""

import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.samples.source import Labelled, as_image, checked_array, checked_labels, has_channels_last

_SAVE = "write it with numpy.savez(FILE, x=samples, y=labels)"
_LABELS, _SAMPLES = "y", "x"
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_BROKEN = (OSError, ValueError, KeyError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What a damaged archive comes to."""
_MOST_LABELS = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    shape: tuple[int, ...]
    dtype: "np.dtype[Any]"

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class Arrays:
    """Samples `x` (N, C, H, W), (N, H, W), (N, H, W, C) or (N, F) and labels `y` (N,) of one archive.

    Of a model with several inputs every array but `y` is one, by its name and as the model takes it. (N, H, W, C) is
    seen by 1, 3 or 4 channels at the end.

    Raises:
        InputError: the archive is damaged, or its arrays are not of these shapes and equally long.
    """

    detection = complete = False
    classes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
                self._headers = {name: _header(archive, name, path) for name in names}
        except _BROKEN as error:
            raise InputError(f"{path} is not a readable .npz archive; {_SAVE}") from error
        inputs = {name: header for name, header in self._headers.items() if name != _LABELS}
        if _LABELS not in self._headers or not inputs:
            raise InputError(f"{path} holds {', '.join(self._headers) or 'no arrays'}; expected samples x and labels y")
        for name, header in inputs.items():
            _check(name, header, path)
        lengths = {name: header.shape[0] for name, header in inputs.items()}
        self._inputs, self.count = tuple(inputs), lengths[next(iter(inputs))]
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise InputError(f"{path}: its arrays have different numbers of samples: {listed}")
        if not self.count:
            raise InputError(f"{path} holds no samples; {_SAVE}")
        self._classes = checked_labels(self._all_labels(), self.count, str(path))
        self.labels: Sequence[int] | None = self._classes

    def read(self, indices: Sequence[int], prepare: Preprocessing) -> Iterator[Labelled]:
        """See `Source.read`."""
        try:
            with zipfile.ZipFile(self._path) as archive, ExitStack() as stack:
                rows = [_rows(stack.enter_context(archive.open(f"{name}.npy")), self._headers[name], indices)
                        for name in self._inputs]  # fmt: skip
                for index, parts in zip(indices, zip(*rows, strict=True), strict=True):
                    found = dict(zip(self._inputs, parts, strict=True))
                    named = {name: self._one(part, name, index, prepare) for name, part in found.items()}
                    sample = named[_SAMPLES] if list(named) == [_SAMPLES] else named
                    yield Labelled(sample=sample, target=self._classes[index])
        except _BROKEN as error:
            raise InputError(f"{self._path} is damaged; {_SAVE}") from error

    def _one(self, row: "np.ndarray[Any, Any]", name: str, index: int, prepare: Preprocessing) -> Tensor:
        sample = checked_array(row, index, str(self._path))
        if self._inputs != (_SAMPLES,):
            return sample  # of inputs by name nobody knows which are images
        shape = self._headers[name].shape[1:]
        return prepare.array(as_image(sample, channels_last=has_channels_last(shape)), f"{self._path}: {name}")

    def _all_labels(self) -> "np.ndarray[Any, Any]":
        header = self._headers[_LABELS]
        if math.prod(header.shape) > _MOST_LABELS or header.dtype.hasobject:
            raise InputError(f"{self._path}: y {header.dtype} {header.shape} is no list of labels; {_SAVE}")
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(f"{_LABELS}.npy") as file:
                found: np.ndarray[Any, Any] = npy.read_array(file, allow_pickle=False)
        except _BROKEN as error:
            raise InputError(f"{self._path} is damaged; {_SAVE}") from error
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def _header(archive: zipfile.ZipFile, name: str, path: Path) -> _Header:
    with archive.open(f"{name}.npy") as file:
        version = npy.read_magic(file)
        if version not in _READERS:
            raise InputError(f"{path}: array {name} is of a newer format {version}; {_SAVE}")
        shape, by_columns, dtype = _READERS[version](file)
    if by_columns and len(shape) > 1:
        raise InputError(f"{path}: array {name} is stored by columns; save numpy.ascontiguousarray({name})")
    return _Header(shape=shape, dtype=dtype)


def _check(name: str, header: _Header, path: Path) -> None:
    if header.dtype.hasobject or header.dtype.kind not in "iufb":
        raise InputError(f"{path}: array {name} is of type {header.dtype}; give uint8 or float32")
    if name == _SAMPLES and len(header.shape) not in (2, 3, 4):
        raise InputError(
            f"{path}: expected x as (N, C, H, W), (N, H, W), (N, H, W, C) or (N, F) but got {header.shape}"
        )
    if not header.shape or 0 in header.shape[1:]:
        raise InputError(f"{path}: array {name} of shape {header.shape} holds no samples; {_SAVE}")


def _rows(file: IO[bytes], header: _Header, indices: Sequence[int]) -> "Iterator[np.ndarray[Any, Any]]":
    """Rows at ascending indices; what lies between is skipped."""
    _READERS[npy.read_magic(file)](file)
    start = file.tell()
    for index in indices:
        file.seek(start + index * header.row_bytes)
        data = file.read(header.row_bytes)
        if len(data) != header.row_bytes:
            raise EOFError("the array ends too soon")
        yield np.frombuffer(data, header.dtype).reshape(header.shape[1:])
