"""What the kernel multiplies: the cells of a layer in the order of its products, in one of several number formats."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.geometry import Geometry

Precision = Literal["fixed", "float16x2", "tf32", "float32"]
"""fixed: 21 bits and sign as three digits of 8-bit integers, whose sums are exact; float16x2: two terms of 11 bits;
tf32: one of 11 bits; float32: IEEE, without tensor cores."""
_CODE_BITS = {"fixed": 8, "float16x2": 12, "tf32": 12}
"""DAC bits up to which codes are exact in the format."""
_CODES = {"fixed": torch.int8, "float16x2": torch.float16}
_ROWS = 1 << 16
"""Rows of a slice up to which sums of 14-bit products fit into 32 bits."""
_FEW_CHANNELS = 16
"""A convolution with fewer is unrolled into patches: blocks of channels would be mostly empty."""
_NARROW, _WIDE = 32, 64
"""Channels that the kernel takes at a time."""


def usable(precision: Precision, dac_bits: int, rows: int) -> Precision:
    """The precision itself, or float32 where its codes or sums would not be exact.

    Args:
        precision: wanted.
        dac_bits: 0 = inputs are not quantised.
        rows: of the longest input slice.

    Raises:
        ConfigError: there is no such precision.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision {precision!r}; choose from {', '.join(get_args(Precision))}")
    exact = precision == "float32" or 0 < dac_bits <= _CODE_BITS[precision]
    return precision if exact and (precision != "fixed" or rows <= _ROWS) else "float32"


def flat(geometry: Geometry) -> Geometry:
    """The product alone as a 2-d convolution without border: of one-dimensional and linear layers a line, a point."""
    kernel, stride, padding, dilation = geometry.kernel, geometry.stride, geometry.padding, geometry.dilation
    if geometry.transposed or not geometry.dims:
        kernel, stride, padding, dilation = (1, 1), (1, 1), (0, 0), (1, 1)
    elif geometry.dims == 1:
        kernel, stride, padding, dilation = (1, *kernel), (1, *stride), (0, *padding), (1, *dilation)
    return replace(
        geometry, transposed=False, border=(), kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The order in which the kernel goes through the rows of a layer's matrix."""

    geometry: Geometry
    """Of the product that the kernel computes, 2-d."""
    unrolled: bool
    """Whether the kernel gets the patches of the input as channels."""
    spans: tuple[tuple[int, int, int, int], ...]
    """Of each slice: first channel, number of channels, first row and the row after the last."""
    block: int
    """Channels at a time; those of a slice are filled up with zeros."""

    @classmethod
    def of(cls, geometry: Geometry, row_splits: tuple[int, ...]) -> "Plan":
        """The plan for a layer with one band whose inputs are cut into slices of these rows."""
        product = flat(geometry)
        places = math.prod(product.kernel)
        unrolled = places > 1 and sum(row_splits) < _FEW_CHANNELS * places
        if unrolled:
            places = 1
        spans, start = [], 0
        for rows in row_splits:
            first, last = start // places, -(-(start + rows) // places)
            spans.append((first, last - first, start, start + rows))
            start += rows
        block = _NARROW if max(count for _, count, _, _ in spans) <= _NARROW else _WIDE
        return cls(geometry=product, unrolled=unrolled, spans=tuple(spans), block=block)

    @cached_property
    def seen(self) -> Geometry:
        """Of the convolution over what the kernel gets: that of patches has one place."""
        if not self.unrolled:
            return self.geometry
        return replace(self.geometry, kernel=(1, 1), stride=(1, 1), padding=(0, 0), dilation=(1, 1))

    @cached_property
    def width(self) -> int:
        """Codes of a pixel: the channels of slice after slice, each filled up with zeros to whole blocks."""
        return sum(self._padded(count) for _, count, _, _ in self.spans)

    @property
    def depth(self) -> int:
        """Values of a column in the kernel's order, zeros included."""
        return self.seen.places * self.width

    def table(self) -> Tensor:
        """(slices, 5) for the kernel: first block of codes, blocks, first channel, first row, row after the last."""
        rows, at = [], 0
        for first, count, start, end in self.spans:
            blocks = self._padded(count) // self.block
            rows.append((at, blocks, first, start, end))
            at += blocks
        return torch.tensor(rows, dtype=torch.int32)

    def code_spans(self) -> Tensor:
        """(width / block, 2) for the kernel that makes codes: first channel of a block, and how many there are."""
        rows = [
            (first + done, min(self.block, count - done))
            for first, count, _, _ in self.spans
            for done in range(0, count, self.block)
        ]
        return torch.tensor(rows, dtype=torch.int32)

    def arranged(self, parts: list[Tensor]) -> Tensor:
        """(columns, depth) from one (columns, rows) tensor a slice: place after place, channels side by side."""
        places, done = self.seen.places, []
        for cells, (first, count, start, end) in zip(parts, self.spans, strict=True):
            whole = F.pad(cells, (start - first * places, (first + count) * places - end))
            by_place = whole.unflatten(1, (count, places)).transpose(1, 2)
            done.append(F.pad(by_place, (0, self._padded(count) - count)).flatten(1))
        return torch.cat(done, dim=1)

    def _padded(self, count: int) -> int:
        return -(-count // self.block) * self.block


def code_dtype(precision: Precision) -> torch.dtype:
    """Of the DAC codes."""
    return _CODES.get(precision, torch.float32)


def encoded(values: Tensor, precision: Precision, *, digits: int = 3) -> tuple[Tensor, float]:
    """Values as (terms, *shape) in a format, and the unit to multiply their sum with.

    Args:
        values: float32, finite.
        precision: format.
        digits: of seven bits, where it is fixed: value = (sum of digit_i * 128**(digits - 1 - i)) * unit, all with the
            value's sign. Terms of other formats are added.
    """
    largest = float(values.abs().max()) if values.numel() else 0.0
    largest = largest or 1.0
    match precision:
        case "fixed":
            top = (1 << 7 * digits) - 1
            whole = (values.abs().double() * (top / largest)).round_().to(torch.int32)
            shifts = torch.arange(digits - 1, -1, -1, device=values.device, dtype=torch.int32) * 7
            parts = (whole >> shifts.view(-1, *(1,) * values.ndim)) & 127
            return (parts * values.sign().to(torch.int32)).to(torch.int8), largest / top
        case "float16x2":
            # A power of two is exact, and keeps the second term of all but tiny values out of the subnormal numbers.
            factor = 2.0 ** (8 - math.frexp(largest)[1])
            scaled = values * factor
            high = scaled.half()
            return torch.stack([high, (scaled - high.float()).half()]), 1.0 / factor
        case "tf32":
            return _to_tf32(values).unsqueeze(0), 1.0
        case "float32":
            return values.unsqueeze(0), 1.0


def _to_tf32(values: Tensor) -> Tensor:
    """Values rounded to the 10 bits after the point of TF32, ties to even."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)
