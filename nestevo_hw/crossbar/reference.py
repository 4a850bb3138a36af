"""aihwkit's own torch tile as a layer: slow, the oracle of the other backends, and what they do not cover."""

from typing import Any

import torch
from aihwkit.inference.compensation.drift import GlobalDriftCompensation
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import TorchInferenceRPUConfig
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.parameters.mapping import MappingParameter
from aihwkit.simulator.parameters.pre_post import InputRangeParameter, PrePostProcessingParameter
from torch import Tensor, nn

from nestevo_hw.base.errors import MappingError
from nestevo_hw.base.seeding import seeded
from nestevo_hw.crossbar.cells import noise_model
from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset
from nestevo_hw.crossbar.geometry import Layer
from nestevo_hw.crossbar.ieee import ieee_products
from nestevo_hw.crossbar.layers import CrossbarLayer
from nestevo_hw.crossbar.tile_sizes import Tile
from nestevo_hw.crossbar.tiles import LayerTiles


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


class ReferenceLayer(CrossbarLayer):
    """aihwkit's torch tiles in the state of `tiles`.

    aihwkit knows linear layers and 2-d convolutions; of all others a linear layer takes the products one by one.
    """

    def __init__(self, tiles: LayerTiles, layer: Layer) -> None:
        super().__init__(tiles, layer)
        self._perfect = tiles.preset.converters is None
        geometry, blocks = self.geometry, self._digits * self.geometry.bands
        self._whole = geometry.bands == 1 and not geometry.transposed and geometry.dims in (0, 2)
        config = rpu_config(tiles.preset, (max(tiles.row_splits), max(tiles.column_splits)))
        device = layer.weight.device
        with torch.random.fork_rng(devices=[]):  # aihwkit initialises weights that are then overwritten
            digital = [self._digital_columns(device) for _ in range(1 if geometry.bands == 1 else blocks)]
            analog = [convert_to_analog(one, config, ensure_analog_root=False, inplace=True) for one in digital]
        # In a tuple, so that it is no submodule: its state dict holds more than tensors.
        self._analog: tuple[Any, ...] = tuple(one.eval().requires_grad_(requires_grad=False) for one in analog)
        columns = len(tiles.column_splits) // len(analog)
        grids = [_tile_grid(one, len(tiles.row_splits), columns) for one in analog]
        self.grid = [[tile for row in rows for tile in row] for rows in zip(*grids, strict=True)]
        """aihwkit's tiles by (row, column) split."""
        self.install(tiles)

    def install(self, tiles: LayerTiles) -> None:
        """Take over the present conductances and scales."""
        for i, part in enumerate(tiles.slices()):
            blocks = zip(
                self.grid[i], part.weight.split(tiles.column_splits), part.scale.split(tiles.column_splits), strict=True
            )
            for tile, weight, scale in blocks:
                tile.tile.set_weights(weight.contiguous())
                tile.set_mapping_scales(scale.clone())

    def set_output_bound(self, bound: float, tiles: LayerTiles) -> None:  # noqa: ARG002 - as the others'
        """See `CrossbarLayer`."""
        self.output_bound = bound
        for row in self.grid:
            for tile in row:
                tile.rpu_config.forward.out_bound = tile.tile._f_io.out_bound = bound

    @torch.no_grad()
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Same arguments and shapes as the digital layer."""
        if not self._perfect:
            full_scale = self._require_range()
            if full_scale == 0.0:
                return self._unused(input, output_size)
            for row in self.grid:
                for tile in row:
                    tile.set_input_range(full_scale)
        if input.numel() == 0:  # aihwkit refuses empty batches, which a detector without proposals sends
            return self._zeros(input, output_size)
        self._calls += 1
        input = input.float()
        # aihwkit draws from torch's global generator
        with seeded(self.noise_seed, self._calls), ieee_products(input.device):
            columns = self._analog[0](self.geometry.bordered(input)) if self._whole else self._one_by_one(input)
        return self._outputs(columns, output_size)

    def _one_by_one(self, x: Tensor) -> Tensor:
        """(N, columns, ...) products of every vector of a convolution's input."""
        alone = x.ndim == self.geometry.dims + 1
        patches = self.geometry.patches(x.unsqueeze(0) if alone else x)
        vectors = patches.flatten(2).transpose(1, 2).chunk(self.geometry.bands, dim=-1)
        products = [analog(vectors[i % len(vectors)]) for i, analog in enumerate(self._analog)]
        columns: Tensor = torch.cat(products, dim=-1).transpose(1, 2).unflatten(2, patches.shape[2:])
        return columns.squeeze(0) if alone else columns

    def _digital_columns(self, device: torch.device) -> nn.Conv2d | nn.Linear:
        """A digital layer without bias with one output for every column of one band's tiles."""
        geometry = self.geometry
        inputs, outputs = (geometry.banded * side for side in geometry.group)
        columns = outputs * self._digits if geometry.bands == 1 else outputs
        if not self._whole or not geometry.dims:
            digital: nn.Conv2d | nn.Linear = nn.Linear(inputs, columns, bias=False, device=device)
        else:
            sides = (geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)
            kernel, stride, padding, dilation = ((side[0], side[1]) for side in sides)
            digital = nn.Conv2d(
                inputs // geometry.places, columns, kernel, stride, padding, dilation, bias=False, device=device
            )
        nn.init.ones_(digital.weight)
        return digital


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
