"""The tiles of one layer as plain tensors: written, programmed, aged and read back, each repeatable on its own."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from nestevo_hw.base.errors import MappingError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.crossbar.cells import FULL_SCALE, Cells, cells_of, with_stuck
from nestevo_hw.crossbar.devices import DevicePreset
from nestevo_hw.crossbar.digits import cut_, factors
from nestevo_hw.crossbar.gaussian import NoiseSource
from nestevo_hw.crossbar.geometry import Geometry, Layer
from nestevo_hw.crossbar.tile_sizes import Tile, tile_splits

_SMALLEST_READOUT = 1e-4
"""Floor of the mean conductance that drift compensation divides by, as in aihwkit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSlice:
    """All tiles of a layer that share the same inputs, side by side."""

    start: int
    """First row of the weight matrix."""
    weight: Tensor
    """(columns, rows) conductances in units of the largest weight of each column, -1 to 1."""
    scale: Tensor
    """(columns,) digital factor after the ADC: column scale x drift compensation x fitted scale; 0 where all weights
    are zero."""
    offset: Tensor | None = None
    """(columns,) digital offset fitted to each column, in units of a full-scale input; None without calibration."""


class LayerTiles:
    """The tiles of one convolution or linear layer; of a grouped one, those on the diagonal of its matrix.

    A column is one output, or with bit slicing one digit of an output: digit k of output o is column
    k * outputs + o, and the columns of an output are added after their ADCs.

    Args:
        name: name of the layer; with the position of a tile it names that tile's noise.
        layer: linear layer or convolution; its weight becomes the target.
        preset: device.
        tile: rows and columns of a tile.
        seed: of all noise.
    """

    target: Tensor
    """(outputs, inputs) weights wanted; the inputs are those of a band (see `crossbar.geometry`)."""
    weight: Tensor
    """(columns, inputs) conductances now, in units of the largest weight of each column."""
    programmed: Tensor | None
    """The same right after programming."""
    drift: Tensor | None
    """(devices, columns, inputs) drift coefficients."""
    _ranges: dict[tuple[int, int], tuple[float, float]]
    """Smallest and largest target of each tile in units of full scale."""
    scale: Tensor
    """(row splits, columns) largest weight of each column in each tile, times the weight of its digit."""
    baseline: Tensor | None
    """(row splits, column splits) mean absolute conductance of each tile right after programming."""
    compensation: Tensor
    """(row splits, column splits) factor that undoes the mean drift of each tile."""
    correction: Tensor | None
    """(2, row splits, columns) digital scale and offset fitted to each column since the last programming, the offset in
    units of (full-scale input x largest weight of the column)."""

    def __init__(self, name: str, layer: Layer, preset: DevicePreset, tile: Tile, seed: int) -> None:
        self.name, self.preset, self._seed = name, preset, seed
        self._generation, self._chip, self.age_s = 0, 0, 0.0
        self.geometry = Geometry.of(layer).on_tiles(*tile)
        self._device = layer.weight.device
        self.row_splits, self.column_splits = tile_splits(self.geometry, tile, preset.digits)
        self.set_target(layer.weight)

    def set_target(self, weight: Tensor) -> None:
        """Replace the target weights; they count as programmed without error until `program`.

        Args:
            weight: in the layer's shape, flattened or not.
        """
        self.target = self.geometry.matrix(weight.detach()).to(self._device).clone()
        # A column of zeros has a scale of zero: nothing reads it, so neither noise nor converters reach the output.
        largest = torch.stack([part.abs().amax(dim=1) for part in self.target.split(self.row_splits, dim=1)])
        self.scale = torch.cat([largest * factor for factor in factors(self.preset)], dim=1)
        self.weight = self._wanted()
        self._ranges = {
            (i, j): (float(self.weight[columns, rows].min()), float(self.weight[columns, rows].max()))
            for i, j, rows, columns in self._blocks()
        }
        self.programmed, self.drift, self.baseline, self.correction = None, None, None, None
        self.compensation = self.scale.new_ones(len(self.row_splits), len(self.column_splits))

    def program(self, generation: int, *, chip: int = 0) -> None:
        """Write the targets into the cells; noise and drift exponents from (seed, tile, generation).

        Args:
            generation: number of this programming.
            chip: which of the chips made alike is written; its stuck devices stay the same from one programming to the
                next.

        Raises:
            MappingError: the device's model gives no finite conductance.
        """
        self._generation, self._chip, self.age_s = generation, chip, 0.0
        self.weight, self.correction = self._wanted(out=self.weight), None
        self.compensation.fill_(1.0)
        if self.preset.noise_law is not None:
            for block in self._blocks():
                self._program_tile(*block)
        self.programmed = _copied(self.weight, self.programmed)
        self._apply_defects()
        if self.preset.noise_law is not None and self.preset.drift_compensation:
            self.baseline = self._readouts()

    def age(self, seconds: float) -> None:
        """Drift from the programmed state to `seconds`, read noise from (seed, tile, generation, seconds).

        0 s restores the state right after programming, before its first read: without slow read noise, which every
        later age has. Earlier calls leave no trace.

        Raises:
            MappingError: nothing was programmed.
        """
        if self.programmed is None:
            raise MappingError(f"{self.name} is not programmed, so it cannot age; call program() first")
        self.age_s = seconds
        self.compensation.fill_(1.0)
        if seconds == 0.0 or self.drift is None:
            self.weight.copy_(self.programmed)
        else:
            for block in self._blocks():
                self._age_tile(*block, self.programmed, self.drift, seconds)
        self._apply_defects()
        if self.baseline is not None:
            self.compensation = self.baseline / self._readouts()

    def _program_tile(self, i: int, j: int, rows: slice, columns: slice) -> None:
        """Program one tile from the targets in `weight`."""
        noise = self._noise("program", i, j)
        block, drift = self._cells(i, j).program(self.weight[columns, rows].contiguous(), noise)
        if not bool(block.sum().isfinite()):
            raise MappingError(
                f"{self.name}, tile ({i}, {j}): device {self.preset.name} has no finite conductance for its weights; "
                "keep the layer digital"
            )
        if self.drift is None:
            self.drift = self.weight.new_empty(len(drift), *self.weight.shape)
        self.weight[columns, rows] = block
        self.drift[:, columns, rows] = drift

    def _age_tile(
        self, i: int, j: int, rows: slice, columns: slice, programmed: Tensor, drift: Tensor, seconds: float
    ) -> None:
        """Age one tile; what its cells keep is drawn for the programming, what a read adds for the age."""
        lasting = self._noise("program" if self.preset.relaxation == "programmed" else "relax", i, j)
        read = self._noise("age", i, j, repr(float(seconds)))
        block = programmed[columns, rows].contiguous()
        block = self._cells(i, j).age(block, drift[:, columns, rows], seconds, read, lasting, self._span(i, j))
        if self.preset.reference_column:
            block -= self._common_change(i, j, block.shape[1], seconds)
        self.weight[columns, rows] = block

    def _common_change(self, i: int, j: int, rows: int, seconds: float) -> Tensor:
        """Mean change of a tile's reference column since its programming, in units of full scale.

        Two more cells hold the ends of the tile's range, so that the column's middle is the tile's.
        """
        ends = self.scale.new_tensor(self._ranges[i, j])
        column, cells = torch.cat([ends, ends.mean().expand(rows)])[None], self._cells(i, j)
        written, drift = cells.program(column, self._noise("reference", i, j))
        kind = "reference" if self.preset.relaxation == "programmed" else "reference relax"
        read = self._noise("reference age", i, j, repr(float(seconds)))
        aged = cells.age(written, drift, seconds, read, self._noise(kind, i, j), self._span(i, j))
        return (aged - written)[0, 2:].mean()

    def _noise(self, kind: str, i: int, j: int, *more: str) -> NoiseSource:
        """The stream of one tile of this programming."""
        return NoiseSource.named(self._seed, kind, self.name, i, j, self._generation, *more)

    def _fixed_scale(self, i: int, j: int) -> bool:
        """Whether weights of -1 and 1 are the ends of the conductances, not the extremes of the tile."""
        low, high = self._ranges[i, j]
        return self.preset.weight_bits > 0 or low == high

    def _span(self, i: int, j: int) -> tuple[float, float]:
        """Weights at the ends of the conductances of a tile's cells."""
        return FULL_SCALE if self._fixed_scale(i, j) else self._ranges[i, j]

    def _cells(self, i: int, j: int) -> Cells:
        return cells_of(self.preset, self.weight.device, fixed_scale=self._fixed_scale(i, j))

    def slices(self) -> list[RowSlice]:
        """The present state of the cells, one entry for every split of the inputs."""
        widths = torch.tensor(self.column_splits, device=self.scale.device)
        scales = self.scale * self.compensation.repeat_interleave(widths, dim=1)
        offsets: Iterable[Tensor | None] = repeat(None)
        if self.correction is not None:
            scales, offsets = scales * self.correction[0], self.scale * self.correction[1]
        result, start = [], 0
        for weight, scale, offset in zip(self.weight.split(self.row_splits, dim=1), scales, offsets, strict=False):
            result.append(RowSlice(start=start, weight=weight, scale=scale, offset=offset))
            start += weight.shape[1]
        return result

    def ideal(self) -> "LayerTiles":
        """Tiles of their own with the same targets, in cells without errors."""
        other = copy(self)
        other.set_target(self.geometry.weight(self.target))
        return other

    def effective_weight(self) -> Tensor:
        """(outputs, inputs) weight that the layer computes with when input and output are perfect."""
        weight = torch.empty_like(self.target)
        for part, mine in self._effective_slices():
            weight[:, part.start : part.start + mine.shape[1]] = mine
        return weight

    def weight_error(self) -> float | None:
        """RMS of (effective weight - target) / RMS of the target, whatever their scale; None for a layer of zeros."""
        squares, one = self.target.new_zeros(()), self.target.new_ones(())
        # By a power of two, which rounds nothing, so that squares neither overflow nor vanish.
        unit = torch.ldexp(one, -torch.frexp(self.target.abs().amax()).exponent)
        for part, mine in self._effective_slices():
            off = mine - self.target[:, part.start : part.start + mine.shape[1]]
            squares += (off * unit).square().sum()
        wanted = torch.linalg.vector_norm(self.target * unit)
        return float(squares.sqrt() / wanted) if wanted > 0 else None

    def _effective_slices(self) -> Iterator[tuple[RowSlice, Tensor]]:
        """Each slice with its (outputs, rows) effective weight."""
        for part in self.slices():
            columns = part.weight * part.scale[:, None]
            yield part, columns if self.preset.digits == 1 else columns.unflatten(0, (self.preset.digits, -1)).sum(0)

    def tensors(self) -> dict[str, Tensor]:
        """State of the tiles as plain tensors, for `load_tensors`."""
        entries = {
            "target": self.geometry.weight(self.target), "weight": self.weight, "programmed": self.programmed,
            "scale": self.scale, "compensation": self.compensation, "baseline": self.baseline, "drift": self.drift,
            "correction": self.correction,
        }  # fmt: skip
        return {key: value.detach().clone().contiguous() for key, value in entries.items() if value is not None}

    def load_tensors(self, state: Mapping[str, Tensor], *, generation: int, chip: int, age_s: float) -> None:
        """Restore what `tensors` gave, on whatever device.

        Raises:
            KeyError: an entry is missing.
        """
        state = {key: value.to(self._device) for key, value in state.items()}
        self.set_target(state["target"])
        self._generation, self._chip, self.age_s = generation, chip, age_s
        self.weight, self.scale = state["weight"].clone(), state["scale"].clone()
        self.programmed, self.compensation = state["programmed"].clone(), state["compensation"].clone()
        self.baseline, self.drift, self.correction = (state.get(key) for key in ("baseline", "drift", "correction"))

    def _wanted(self, out: Tensor | None = None) -> Tensor:
        """(columns, inputs) targets in units of full scale, cut into digits with the weight's sign."""
        outputs, digits = len(self.target), self.preset.digits
        wanted = self.target.new_empty(outputs * digits, self.target.shape[1]) if out is None else out
        largest = self.scale[:, :outputs] / factors(self.preset)[0]
        largest = torch.where(largest > 0, largest, 1.0)
        for rows, scale in zip(_ranges(self.row_splits), largest, strict=True):
            torch.div(self.target[:, rows], scale[:, None], out=wanted[:outputs, rows])
        if self.preset.weight_bits:
            cut_(wanted, self.preset)
        return wanted

    def _blocks(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Row and column index of each tile, and its rows and columns of the weight matrix."""
        for i, rows in enumerate(_ranges(self.row_splits)):
            for j, columns in enumerate(_ranges(self.column_splits)):
                yield i, j, rows, columns

    def _readouts(self) -> Tensor:
        """(row splits, column splits) mean absolute conductance of each tile, stuck cells among the others.

        Read without converters: their noise would bias heavy-tailed weights.
        """
        means = [self.weight[columns, rows].abs().mean() for _, _, rows, columns in self._blocks()]
        return torch.stack(means).view(self.compensation.shape).clamp_(min=_SMALLEST_READOUT)

    def _apply_defects(self) -> None:
        """Overwrite the weights of cells with stuck devices; which these are does not change with programming."""
        if self.preset.stuck == 0.0:
            return
        for i, j, rows, columns in self._blocks():
            block = self.weight[columns, rows]
            another = (self._chip,) if self._chip else ()
            generator = torch_generator(self._seed, "defects", self.name, i, j, *another)
            chance = torch.rand(2 * self.preset.pairs, *block.shape, generator=generator).to(block.device)
            self.weight[columns, rows] = with_stuck(self.preset, block.contiguous(), chance, self._span(i, j))


def _copied(source: Tensor, present: Tensor | None) -> Tensor:
    return source.clone() if present is None else present.copy_(source)


def _ranges(sizes: tuple[int, ...]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size
