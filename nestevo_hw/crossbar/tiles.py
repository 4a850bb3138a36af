"""The aihwkit tiles of one layer: written, programmed, aged and read back, each repeatable on its own."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from aihwkit.inference.compensation.drift import GlobalDriftCompensation
from aihwkit.inference.converter.conductance import NPairConductanceConverter
from aihwkit.inference.noise.base import BaseNoiseModel
from aihwkit.inference.noise.hermes import HermesNoiseModel
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
from aihwkit.inference.noise.reram import ReRamCMONoiseModel, ReRamWan2022NoiseModel
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.parameters.mapping import MappingParameter
from aihwkit.simulator.parameters.pre_post import InputRangeParameter, PrePostProcessingParameter
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset
from nestevo_hw.crossbar.mapping import Tile, split_sizes
from nestevo_hw.crossbar.placement import explicit_padding, pair
from nestevo_hw.errors import MappingError
from nestevo_hw.seeding import seeded


def noise_model(preset: DevicePreset) -> BaseNoiseModel:
    """Statistical model of the preset's cells, as aihwkit implements it; noise-free for "none"."""
    match preset.noise_model:
        case "pcm-like" if preset.pairs > 1:
            pairs = NPairConductanceConverter(f_lst=[1.0] * preset.pairs, g_max=preset.g_max_us)
            return PCMLikeNoiseModel(g_converter=pairs)
        case "pcm-like":
            return PCMLikeNoiseModel(g_max=preset.g_max_us)
        case "hermes":
            return HermesNoiseModel(num_devices=2, g_max=preset.g_max_us)
        case "reram-wan":
            return ReRamWan2022NoiseModel(g_max=preset.g_max_us)
        case "reram-cmo":
            # A value that is not a key of aihwkit's table (0.2 or 2, in percent) is silently read as 0.2.
            return ReRamCMONoiseModel(acceptance_range=0.2)
        case "none":
            return PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0, drift_scale=0.0)


def _io(converters: ConverterModel | None) -> IOParameters:
    if converters is None:
        return IOParameters(is_perfect=True)
    # Static input ranges replace aihwkit's per-vector noise management and iterative bound management:
    # no chip rescales every input vector, and only static ranges can be simulated by native convolutions.
    return IOParameters(
        inp_res=converters.step(converters.dac_bits) if converters.dac_bits else -1.0,
        out_res=converters.step(converters.adc_bits) if converters.adc_bits else -1.0,
        inp_noise=converters.input_noise,
        out_noise=converters.output_noise,
        out_bound=converters.output_bound,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )


def rpu_config(preset: DevicePreset, tile: Tile) -> TorchInferenceRPUConfig:
    """Configuration of one layer: weights scaled per column to the full range, bias digital."""
    return TorchInferenceRPUConfig(
        forward=_io(preset.converters),
        noise_model=noise_model(preset),
        drift_compensation=GlobalDriftCompensation() if preset.drift_compensation else None,
        mapping=MappingParameter(
            weight_scaling_omega=1.0,
            weight_scaling_columnwise=True,
            max_input_size=tile[0],
            max_output_size=tile[1],
        ),
        pre_post=PrePostProcessingParameter(
            input_range=InputRangeParameter(
                enable=preset.converters is not None, learn_input_range=False, init_from_data=0
            )
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSlice:
    """All tiles of a layer that share the same inputs, side by side."""

    start: int
    """First row of the weight matrix."""
    weight: Tensor
    """(outputs, rows) conductances in units of the largest weight of each column, -1 to 1."""
    scale: Tensor
    """(outputs,) digital factor after the ADC: column scale x drift compensation."""


class LayerTiles:
    """The tiles of one convolution or linear layer.

    Args:
        name: name of the layer; with the position of a tile it names that tile's noise.
        layer: nn.Conv2d or nn.Linear; its weight becomes the target.
        preset: device.
        tile: rows and columns of a tile.
        seed: of all noise.
    """

    def __init__(self, name: str, layer: nn.Conv2d | nn.Linear, preset: DevicePreset, tile: Tile, seed: int) -> None:
        self.name, self.preset, self._seed = name, preset, seed
        self._generation, self.age_s = 0, 0.0
        with torch.random.fork_rng(devices=[]):  # aihwkit initialises weights that are then overwritten
            self.analog = convert_to_analog(
                _without_bias(layer), rpu_config(preset, tile), ensure_analog_root=False, inplace=True
            ).eval()
        self.analog.requires_grad_(requires_grad=False)
        matrix = layer.weight.detach().flatten(1)
        self.row_splits = split_sizes(matrix.shape[1], tile[0])
        self.column_splits = split_sizes(matrix.shape[0], tile[1])
        self._grid = _tile_grid(self.analog, len(self.row_splits), len(self.column_splits))
        self.target = matrix.clone()
        self.set_target(matrix)

    def set_target(self, weight: Tensor) -> None:
        """Replace the target weights; they count as programmed without error until `program`.

        Args:
            weight: shape of the layer's weight, or (outputs, inputs).
        """
        self.target = weight.detach().reshape(self.target.shape).to(self.target.device).clone()
        for _, _, tile, block in self._tiles(self.target):
            tile.set_weights(block)
            # aihwkit keeps the old programmed weights and the old compensation until told otherwise.
            tile.programmed_weights, tile.drift_noise_parameters, tile.drift_baseline = None, None, None
            tile.alpha = tile.alpha.new_ones(1)

    def program(self, generation: int) -> None:
        """Write the targets into the cells; noise and drift exponents from (seed, tile, generation).

        Raises:
            MappingError: the device's model gives no finite conductance (a tile of equal weights).
        """
        self.set_target(self.target)
        self._generation, self.age_s = generation, 0.0
        for i, j, tile, _ in self._tiles(self.target):
            if self.preset.noise_model == "none":
                tile.programmed_weights = tile.tile.get_weights().to(self.target.device)
                continue
            with seeded(self._seed, "program", self.name, i, j, generation), _ideal_readout(tile):
                tile.program_weights()
            if not bool(torch.isfinite(tile.programmed_weights).all()):
                raise MappingError(
                    f"{self.name}, tile ({i}, {j}): device {self.preset.name} has no finite conductance for "
                    "a tile whose weights are all equal; keep the layer digital or change the tile size"
                )

    def age(self, seconds: float) -> None:
        """Drift from the programmed state to `seconds`, read noise from (seed, tile, generation, seconds).

        0 s restores the state right after programming. Earlier calls leave no trace.
        """
        self.age_s = seconds
        for i, j, tile, _ in self._tiles(self.target):
            if seconds == 0.0 or self.preset.noise_model == "none":
                tile.tile.set_weights(tile.programmed_weights)
                tile.alpha = tile.alpha.new_ones(1)
                continue
            names = ("age", self.name, i, j, self._generation, repr(float(seconds)))
            with seeded(self._seed, *names), _ideal_readout(tile), _numpy_on_tensors():
                tile.drift_weights(seconds)

    def set_input_range(self, largest: float) -> None:
        """Give the DAC its full scale, the same for all tiles of the layer."""
        for _, _, tile, _ in self._tiles(self.target):
            tile.set_input_range(largest)

    def slices(self) -> list[RowSlice]:
        """The present state of the cells, one entry for every split of the inputs."""
        result, start = [], 0
        for size, tiles in zip(self.row_splits, self._grid, strict=True):
            weight = torch.cat([tile.tile.weight.detach() for tile in tiles])
            scale = torch.cat([_output_scale(tile) for tile in tiles])
            result.append(RowSlice(start=start, weight=weight, scale=scale))
            start += size
        return result

    def effective_weight(self) -> Tensor:
        """(outputs, inputs) weight that the layer computes with when input and output are perfect."""
        return torch.cat([part.weight * part.scale[:, None] for part in self.slices()], dim=1)

    def weight_error(self) -> float:
        """RMS of (effective weight - target) / RMS of the target."""
        difference = torch.linalg.vector_norm(self.effective_weight() - self.target)
        return float(difference / torch.linalg.vector_norm(self.target))

    def _tiles(self, matrix: Tensor) -> Iterator[tuple[int, int, Any, Tensor]]:
        """Row and column index, tile, and its block of `matrix`."""
        for i, rows in enumerate(torch.split(matrix, list(self.row_splits), dim=1)):
            for j, block in enumerate(torch.split(rows, list(self.column_splits))):
                yield i, j, self._grid[i][j], block

    def tensors(self) -> dict[str, Tensor]:
        """State of every tile as plain tensors, for `load_tensors`."""
        state = {"target": self.target}
        for i, j, tile, _ in self._tiles(self.target):
            entries = {
                "weight": tile.tile.weight.detach(),
                "programmed": tile.programmed_weights,
                "scale": tile.get_mapping_scales(),
                "compensation": tile.alpha,
                "baseline": tile.drift_baseline,
                "drift": _stacked(tile.drift_noise_parameters),
            }
            state |= {f"{i}.{j}.{key}": value for key, value in entries.items() if value is not None}
        return {key: value.detach().clone().contiguous() for key, value in state.items()}

    def load_tensors(self, state: Mapping[str, Tensor], *, generation: int, age_s: float) -> None:
        """Restore what `tensors` gave.

        Raises:
            KeyError: an entry is missing.
        """
        self.set_target(state["target"])
        self._generation, self.age_s = generation, age_s
        for i, j, tile, _ in self._tiles(self.target):
            here = f"{i}.{j}."
            tile.reference_combined_weights = tile.tile.get_weights()
            tile.programmed_weights = state[here + "programmed"].clone()
            tile.set_mapping_scales(state[here + "scale"].clone())
            tile.tile.set_weights(state[here + "weight"])
            tile.alpha = state[here + "compensation"].clone()
            tile.drift_baseline = state.get(here + "baseline")
            if here + "drift" in state:
                tile.drift_noise_parameters = list(state[here + "drift"].unbind(0))


def _without_bias(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """A layer of its own with the same weight; the bias stays digital, outside the tiles."""
    if isinstance(layer, nn.Linear):
        copy: nn.Conv2d | nn.Linear = nn.Linear(
            layer.in_features, layer.out_features, bias=False, device=layer.weight.device
        )
    else:
        padding = explicit_padding(layer)
        if padding is None:
            raise MappingError("padding='same' is uneven for this kernel")
        copy = nn.Conv2d(
            layer.in_channels, layer.out_channels, pair(layer.kernel_size), pair(layer.stride), padding,
            pair(layer.dilation), bias=False, device=layer.weight.device,
        )  # fmt: skip
    with torch.no_grad():
        copy.weight.copy_(layer.weight)
    return copy


def _tile_grid(analog: nn.Module, rows: int, columns: int) -> list[list[Any]]:
    """Tiles by (row, column) split; aihwkit uses a bare tile where one is enough."""
    module: Any = analog.analog_module
    grid = [list(row) for row in module.array] if hasattr(module, "array") else [[module]]
    if len(grid) != rows or any(len(row) != columns for row in grid):
        raise MappingError(
            f"expected {rows} x {columns} tiles but aihwkit made {len(grid)} x {len(grid[0])}; "
            "this aihwkit version splits layers differently"
        )
    return grid


def _output_scale(tile: Any) -> Tensor:  # noqa: ANN401 - an aihwkit tile
    """(outputs,) column scale times drift compensation."""
    scale: Tensor = tile.get_mapping_scales().reshape(-1).expand(tile.out_size) * tile.alpha.reshape(-1)
    return scale.detach()


def _stacked(parameters: list[Tensor] | None) -> Tensor | None:
    if parameters is None or any(p is None for p in parameters):
        return None
    return torch.stack(list(parameters))


@contextlib.contextmanager
def _ideal_readout(tile: Any) -> Iterator[None]:  # noqa: ANN401 - an aihwkit tile
    """Read the tile without converters: their noise biases the compensation of heavy-tailed weights."""
    forward = tile.rpu_config.forward
    perfect, forward.is_perfect = forward.is_perfect, True
    tile.tile.set_config(tile.rpu_config)
    try:
        yield
    finally:
        forward.is_perfect = perfect


@contextlib.contextmanager
def _numpy_on_tensors() -> Iterator[None]:
    """Aihwkit's CMO model calls numpy.log10 on a tensor, which works but warns since NumPy 2."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array_wrap__ must accept", DeprecationWarning)
        yield
