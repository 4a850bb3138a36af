"""The tiles of one layer as plain tensors: written, programmed, aged and read back, each repeatable on its own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nestevo_hw.base.errors import MappingError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.crossbar.cells import cells_of, with_stuck
from nestevo_hw.crossbar.devices import DevicePreset
from nestevo_hw.crossbar.gaussian import NoiseSource
from nestevo_hw.crossbar.geometry import Geometry, Layer
from nestevo_hw.crossbar.mapping import Tile, tile_splits

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
    """(columns,) digital factor after the ADC: column scale x drift compensation."""


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
    scale: Tensor
    """(row splits, columns) largest weight of each column in each tile, times the weight of its digit."""
    baseline: Tensor | None
    """(row splits, column splits) mean absolute conductance of each tile right after programming."""
    compensation: Tensor
    """(row splits, column splits) factor that undoes the mean drift of each tile."""

    def __init__(self, name: str, layer: Layer, preset: DevicePreset, tile: Tile, seed: int) -> None:
        self.name, self.preset, self._seed = name, preset, seed
        self._generation, self.age_s = 0, 0.0
        self.geometry = Geometry.of(layer).on_tiles(*tile)
        self._device = layer.weight.device
        self._cells = cells_of(preset, self._device)
        self.row_splits, self.column_splits = tile_splits(self.geometry, tile, preset.digits)
        self.set_target(layer.weight)

    def set_target(self, weight: Tensor) -> None:
        """Replace the target weights; they count as programmed without error until `program`.

        Args:
            weight: in the layer's shape, flattened or not.
        """
        self.target = self.geometry.matrix(weight.detach()).to(self._device).clone()
        largest = torch.stack([part.abs().amax(dim=1) for part in self.target.split(self.row_splits, dim=1)])
        largest = torch.where(largest > 0, largest, 1.0)
        self.scale = torch.cat([largest * factor for factor in self._digit_factors()], dim=1)
        self.weight = self._wanted()
        self.programmed, self.drift, self.baseline = None, None, None
        self.compensation = self.scale.new_ones(len(self.row_splits), len(self.column_splits))

    def program(self, generation: int) -> None:
        """Write the targets into the cells; noise and drift exponents from (seed, tile, generation).

        Raises:
            MappingError: the device's model gives no finite conductance (a tile of equal weights).
        """
        self._generation, self.age_s = generation, 0.0
        self.weight = self._wanted(out=self.weight)
        self.compensation.fill_(1.0)
        if self.preset.noise_law is not None:
            readout = [self._program_tile(*block) for block in self._blocks()]
            if self.preset.drift_compensation:
                self.baseline = self._per_tile(readout)
        self.programmed = _copied(self.weight, self.programmed)
        self._apply_defects()

    def age(self, seconds: float) -> None:
        """Drift from the programmed state to `seconds`, read noise from (seed, tile, generation, seconds).

        0 s restores the state right after programming. Earlier calls leave no trace.

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
            readout = [self._age_tile(*block, self.programmed, self.drift, seconds) for block in self._blocks()]
            if self.baseline is not None:
                self.compensation = self.baseline / self._per_tile(readout)
        self._apply_defects()

    def _program_tile(self, i: int, j: int, rows: slice, columns: slice) -> Tensor:
        """Program one tile from the targets in `weight`; its mean absolute conductance."""
        noise = NoiseSource.named(self._seed, "program", self.name, i, j, self._generation)
        block, drift = self._cells.program(self.weight[columns, rows].contiguous(), noise)
        if not bool(block.sum().isfinite()):
            raise MappingError(
                f"{self.name}, tile ({i}, {j}): device {self.preset.name} has no finite conductance for "
                "a tile whose weights are all equal; keep the layer digital or change the tile size"
            )
        if self.drift is None:
            self.drift = self.weight.new_empty(len(drift), *self.weight.shape)
        self.weight[columns, rows] = block
        self.drift[:, columns, rows] = drift
        return _readout(block)

    def _age_tile(
        self, i: int, j: int, rows: slice, columns: slice, programmed: Tensor, drift: Tensor, seconds: float
    ) -> Tensor:
        """Age one tile; its mean absolute conductance."""
        noise = NoiseSource.named(self._seed, "age", self.name, i, j, self._generation, repr(float(seconds)))
        block = self._cells.age(programmed[columns, rows].contiguous(), drift[:, columns, rows], seconds, noise)
        self.weight[columns, rows] = block
        return _readout(block)

    def slices(self) -> list[RowSlice]:
        """The present state of the cells, one entry for every split of the inputs."""
        widths = torch.tensor(self.column_splits, device=self.scale.device)
        scales = self.scale * self.compensation.repeat_interleave(widths, dim=1)
        result, start = [], 0
        for weight, scale in zip(self.weight.split(self.row_splits, dim=1), scales, strict=True):
            result.append(RowSlice(start=start, weight=weight, scale=scale))
            start += weight.shape[1]
        return result

    def effective_weight(self) -> Tensor:
        """(outputs, inputs) weight that the layer computes with when input and output are perfect."""
        weight = torch.empty_like(self.target)
        for part, mine in self._effective_slices():
            weight[:, part.start : part.start + mine.shape[1]] = mine
        return weight

    def weight_error(self) -> float:
        """RMS of (effective weight - target) / RMS of the target."""
        squares = self.target.new_zeros(())
        for part, mine in self._effective_slices():
            squares += (mine - self.target[:, part.start : part.start + mine.shape[1]]).square().sum()
        return float(squares.sqrt() / torch.linalg.vector_norm(self.target))

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
        }  # fmt: skip
        return {key: value.detach().clone().contiguous() for key, value in entries.items() if value is not None}

    def load_tensors(self, state: Mapping[str, Tensor], *, generation: int, age_s: float) -> None:
        """Restore what `tensors` gave.

        Raises:
            KeyError: an entry is missing.
        """
        self.set_target(state["target"])
        self._generation, self.age_s = generation, age_s
        self.weight, self.scale = state["weight"].clone(), state["scale"].clone()
        self.programmed, self.compensation = state["programmed"].clone(), state["compensation"].clone()
        self.baseline, self.drift = state.get("baseline"), state.get("drift")

    def _digit_factors(self) -> list[float]:
        """Weight of each digit of a bit-sliced weight, least significant first; [1.0] without bit slicing."""
        if self.preset.digits == 1:
            return [1.0]
        steps, base = (1 << (self.preset.weight_bits - 1)) - 1, 1 << self.preset.cell_bits
        return [base**k * (base - 1) / steps for k in range(self.preset.digits)]

    def _wanted(self, out: Tensor | None = None) -> Tensor:
        """(columns, inputs) targets in units of full scale, cut into digits with the weight's sign."""
        outputs, digits = len(self.target), self.preset.digits
        wanted = self.target.new_empty(outputs * digits, self.target.shape[1]) if out is None else out
        largest = self.scale[:, :outputs] / self._digit_factors()[0]
        for rows, scale in zip(_ranges(self.row_splits), largest, strict=True):
            torch.div(self.target[:, rows], scale[:, None], out=wanted[:outputs, rows])
        if digits > 1:
            whole = wanted[:outputs].clone()
            base = 1 << self.preset.cell_bits
            rest = (whole.abs() * ((1 << (self.preset.weight_bits - 1)) - 1)).round().to(torch.int32)
            for digit in wanted.split(outputs):
                digit.copy_(torch.copysign((rest % base).to(whole) / (base - 1), whole))
                rest = rest // base
        return wanted

    def _blocks(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Row and column index of each tile, and its rows and columns of the weight matrix."""
        for i, rows in enumerate(_ranges(self.row_splits)):
            for j, columns in enumerate(_ranges(self.column_splits)):
                yield i, j, rows, columns

    def _per_tile(self, readout: list[Tensor]) -> Tensor:
        """(row splits, column splits) from values in the order of `_blocks`."""
        return torch.stack(readout).view(self.compensation.shape)

    def _apply_defects(self) -> None:
        """Overwrite the weights of cells with stuck devices; which these are does not change with programming."""
        if self.preset.stuck_off + self.preset.stuck_on == 0.0:
            return
        for i, j, rows, columns in self._blocks():
            block = self.weight[columns, rows]
            generator = torch_generator(self._seed, "defects", self.name, i, j)
            chance = torch.rand(2 * self.preset.pairs, *block.shape, generator=generator)
            self.weight[columns, rows] = with_stuck(self.preset, block.contiguous(), chance.to(block.device))


def _readout(conductances: Tensor) -> Tensor:
    """Mean absolute conductance of a tile, read without converters: their noise would bias heavy-tailed weights."""
    return conductances.abs().mean().clamp(min=_SMALLEST_READOUT)


def _copied(source: Tensor, present: Tensor | None) -> Tensor:
    return source.clone() if present is None else present.copy_(source)


def _ranges(sizes: tuple[int, ...]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size
