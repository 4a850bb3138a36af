"""Ranges of the converters and corrections of the columns, from in-domain frames that the digital model computes."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import MappingError
from nestevo_hw.crossbar.geometry import Geometry
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.watching import watch

CLIPPED_SHARE = 1e-4
"""Share of the inputs beyond the range: their clipping costs less than the finer steps gain."""
SPARSE = 0.01
"""Share of values other than zero up to which they alone count: else the few that carry the signal would clip."""
SAMPLES_PER_CALL = 1 << 15
MOST_SAMPLES = 1 << 20
"""Of one layer, whatever the number of frames: 4 MB."""
_PURPOSE = "calibration"


class _Sample:
    """Some of the values that came, evenly, and about `MOST_SAMPLES` of them at most."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, int]] = []
        self._count, self._stride = 0, 1
        self._generator = torch.Generator().manual_seed(0)

    def add(self, values: Tensor, row: int, places: int) -> None:
        """Flat values of rows of so many, in which each channel has so many places side by side."""
        step = max(1, values.numel() // SAMPLES_PER_CALL) | 1
        while math.gcd(step, row) > places:  # it would fall into step with the rows and pass over whole channels
            step += 2
        # A copy does not keep the whole map.
        part = self._thinned(values[::step], self._stride).clone()
        self._parts.append((part, step))
        self._count += part.numel()
        while self._count > MOST_SAMPLES:
            self._parts = [(self._thinned(part, 2).clone(), step) for part, step in self._parts]
            self._count, self._stride = sum(part.numel() for part, _ in self._parts), 2 * self._stride

    def _thinned(self, values: Tensor, stride: int) -> Tensor:
        """One of so many, by chance: every other one would be of half of the channels where rows are of even length."""
        if stride == 1:
            return values
        chosen = torch.rand(values.numel(), generator=self._generator) * stride < 1.0
        return values[chosen.to(values.device)]

    def quantile(self, above: float) -> float:
        """Magnitude above which a share of the values lies; 0 if none came.

        One taken stands for all those that were passed over for it, so that a last, smaller batch and the small maps of
        a layer that several levels share weigh what they are.
        """
        if self._count == 0:
            return 0.0
        values = torch.cat([part for part, _ in self._parts])
        weights = torch.cat([torch.full(part.shape, step, dtype=torch.float64) for part, step in self._parts])
        share = above * float(weights.sum())
        least = min(step for _, step in self._parts)
        highest = values.topk(min(self._count, math.ceil(share / least) + 1))
        own = weights[highest.indices.cpu()]
        beyond = int((own.cumsum(0) - own / 2 <= share).sum())
        return float(highest.values[min(beyond, len(own) - 1)])


class _Magnitudes:
    """A bounded sample of magnitudes, and the largest of all."""

    def __init__(self) -> None:
        self._all, self._nonzero = _Sample(), _Sample()
        self._largest: float | None = None

    def add(self, values: Tensor, dims: int) -> None:
        """Take values into account.

        Args:
            values: any shape.
            dims: spatial dimensions, behind that of the channels, all of which are looked at.
        """
        flat = values.detach().flatten().abs()
        if flat.numel():
            sides = values.shape[-1 - dims :]
            row, places = math.prod(sides), math.prod(sides[1:])
            self._all.add(flat, row, places)
            self._nonzero.add(flat[flat > 0.0], row, places)
            self._largest = max(self._largest or 0.0, float(flat.max()))

    def full_scale(self, clipped: float) -> float | None:
        """Magnitude that all but a share of the values stay below; None if no value came.

        Of sparse values it is one per cent of those that are not zero that may lie above.
        """
        if self._largest is None or clipped == 0.0:
            return self._largest
        dense, sparse = self._all.quantile(clipped), self._nonzero.quantile(SPARSE)
        return max(dense, sparse if clipped < SPARSE else 0.0)


def observe_inputs(model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Any]) -> dict[str, float]:
    """Full scale of the inputs of each layer.

    Args:
        model: digital model in eval mode.
        layers: layers of `model` to watch, by name.
        batches: each is given to `model` as its only argument.

    Returns:
        Full scale by name, 0 for a layer that saw no input but zeros; one that saw none at all is left out.

    Raises:
        MappingError: there was no batch.
    """
    magnitudes = {name: _Magnitudes() for name in layers}
    dims = {name: Geometry.of(layer).dims for name, layer in layers.items()}
    watch(model, layers, batches, lambda name, x, _y: magnitudes[name].add(x, dims[name]), purpose=_PURPOSE)
    scales = {name: observed.full_scale(CLIPPED_SHARE) for name, observed in magnitudes.items()}
    return {name: scale for name, scale in scales.items() if scale is not None}


def observe_sums(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    probes: Mapping[str, FusedLayer],
    batches: Iterable[Any],
    *,
    clipped: Mapping[str, float],
) -> dict[str, float]:
    """Full scale of what the columns of each layer put out, for their ADCs.

    Args:
        model: digital model in eval mode.
        layers: layers of `model` to watch, by name.
        probes: what they are on the crossbar without errors (`layers.error_free`).
        batches: each is given to `model` as its only argument.
        clipped: share of each layer's sums that may lie beyond; 0 = none of those seen.

    Returns:
        By name, in units of (full-scale input x largest weight of the column); a layer whose columns put out
        nothing but zeros is left out.

    Raises:
        MappingError: there was no batch.
    """
    magnitudes = {name: _Magnitudes() for name in probes}

    def look(name: str, x: Tensor, _output: Tensor) -> None:
        for sums in probes[name].column_sums(x):
            magnitudes[name].add(sums, 0)

    watch(model, {name: layers[name] for name in probes}, batches, look, purpose=_PURPOSE)
    scales = {name: observed.full_scale(clipped[name]) for name, observed in magnitudes.items()}
    return {name: scale for name, scale in scales.items() if scale}


class _Lines:
    """Sums for a straight line through (read, wanted) of every column of one row slice."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: Tensor | None = None

    def add(self, read: Tensor, wanted: Tensor) -> None:
        """Both (values, columns)."""
        r, w = read.double(), wanted.double()
        sums = torch.stack([r.sum(0), w.sum(0), (r * r).sum(0), (r * w).sum(0)])
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += len(r)

    def fit(self) -> Tensor:
        """(2, columns) scale and offset of least squared error; a column that always reads the same keeps scale 1."""
        if self._sums is None or self._count == 0:
            raise MappingError("columns without values cannot be fitted")
        r, w, rr, rw = self._sums / self._count
        variance, covariance = rr - r * r, rw - r * w
        varies = variance > 1e-12 * rr
        scale = torch.where(varies, covariance / torch.where(varies, variance, 1.0), 1.0)
        return torch.stack([scale, w - scale * r])


def fit_columns(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    analog: Mapping[str, FusedLayer],
    probes: Mapping[str, FusedLayer],
    batches: Iterable[Any],
) -> dict[str, Tensor]:
    """Digital scale and offset of each column that bring what its ADC reads nearest to what it should read.

    Args:
        model: digital model in eval mode; every layer is fitted on its inputs, so that errors do not add up.
        layers: layers of `model` to watch, by name.
        analog: what they are on the crossbar, programmed and not corrected yet.
        probes: the same without errors (`layers.error_free`).
        batches: each is given to `model` as its only argument.

    Returns:
        (2, row splits, columns) by name; a layer that no frame reaches is left out.

    Raises:
        MappingError: there was no batch.
    """
    lines: dict[str, list[_Lines]] = {}

    def compare(name: str, x: Tensor, _output: Tensor) -> None:
        if x.numel() == 0:
            return
        pairs = list(zip(analog[name].column_sums(x), probes[name].column_sums(x), strict=True))
        for line, (read, wanted) in zip(lines.setdefault(name, [_Lines() for _ in pairs]), pairs, strict=True):
            line.add(read, wanted)

    watch(model, {name: layers[name] for name in probes}, batches, compare, purpose=_PURPOSE)
    return {name: torch.stack([line.fit() for line in own], dim=1).float() for name, own in lines.items()}
