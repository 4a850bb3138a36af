"""A layer on tiles as each backend has it, for the tests of the kernel with and without a GPU."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import ConverterModel, find_preset
from nestevo_hw.crossbar.geometry import Geometry, Layer
from nestevo_hw.crossbar.gpu.layer import KernelLayer
from nestevo_hw.crossbar.gpu.operands import Precision
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.reference import ReferenceLayer
from nestevo_hw.crossbar.tiles import LayerTiles

QUIET = ConverterModel(output_noise=0.0)
ANALOG = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6)
"""Without quantisation, so that errors show as they are."""
ALLOWED: dict[Precision, float] = {"fixed": 1e-4, "float16x2": 1e-4, "float32": 1e-4, "tf32": 3e-2}
"""Share of ADC codes that may differ by one from the reference."""


def on_tiles(layer: Layer, converters: ConverterModel, tile: tuple[int, int] = (40, 30)) -> LayerTiles:
    """PCM cells, an hour old."""
    tiles = LayerTiles("layer", layer, replace(find_preset("pcm"), converters=converters), tile, seed=3)
    tiles.program(0)
    tiles.age(3600.0)
    return tiles


def both(
    layer: Layer,
    converters: ConverterModel,
    tile: tuple[int, int] = (40, 30),
    *,
    precision: Precision = "fixed",
    blocks: tuple[int, int] | None = None,
    full_scale: float = 1.0,
) -> tuple[FusedLayer, KernelLayer]:
    """The layer by native operations and by the kernel, on the same tiles."""
    tiles = on_tiles(layer, converters, tile)
    fused, kernel = FusedLayer(tiles, layer, converters), KernelLayer(tiles, layer, converters, precision, blocks)
    fused.input_range = kernel.input_range = full_scale
    return fused, kernel


def reference_codes(tiles: LayerTiles, layer: Layer, x: Tensor, full_scale: float) -> Tensor:
    """ADC codes of aihwkit's tiles, (slices, vectors, outputs): their outputs without the digital scales."""
    reference = ReferenceLayer(tiles, layer)
    if isinstance(layer, nn.Conv2d):
        geometry = Geometry.of(layer)
        unfolded = F.unfold(x, layer.kernel_size, geometry.dilation, geometry.padding, geometry.stride)
        x = unfolded.transpose(1, 2).flatten(0, 1)
    step = 2.0 * QUIET.output_bound * QUIET.step(QUIET.adc_bits)
    codes = []
    for part, rows, row in zip(tiles.slices(), x.split(tiles.row_splits, dim=-1), reference.grid, strict=True):
        for tile in row:
            tile.set_input_range(full_scale)
        codes.append(torch.cat([tile(rows) for tile in row], dim=-1) / (part.scale * full_scale * step))
    return torch.stack(codes)


def by_vector(codes: Tensor, layer: Layer) -> Tensor:
    """(slices, vectors, outputs) of codes in the layer's own shape."""
    if isinstance(layer, nn.Linear):
        return codes.flatten(1, -2)
    return codes.movedim(2, -1).flatten(1, -2)
