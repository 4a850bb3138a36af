"""Fold and fused against aihwkit's own torch tile, layer by layer."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset, find_preset
from nestevo_hw.crossbar.layers import FusedLayer, ReferenceLayer, plain_layer
from nestevo_hw.crossbar.tiles import LayerTiles
from nestevo_hw.errors import MappingError

QUIET = ConverterModel(output_noise=0.0)
"""Converters without noise, so that two backends can be compared code by code."""


def _preset(converters: ConverterModel | None) -> DevicePreset:
    return replace(find_preset("pcm"), converters=converters)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[nn.Conv2d | nn.Linear, Tensor, tuple[int, int]]:
    torch.manual_seed(draw(st.integers(0, 2**16)))
    tile = (draw(st.integers(5, 60)), draw(st.integers(5, 60)))
    inputs, outputs = draw(st.integers(1, 20)), draw(st.integers(1, 40))
    if draw(st.booleans()):
        return nn.Linear(inputs * 8, outputs, bias=draw(st.booleans())), torch.randn(50, inputs * 8), tile
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(st.integers(1, 2))
    padding = draw(st.sampled_from([0, 1, (1, 2), "valid", "same"]))
    if padding == "same" and any((k - 1) * dilation % 2 for k in kernel):
        padding = 1
    stride = 1 if padding == "same" else draw(st.integers(1, 3))
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=draw(st.booleans()))
    return conv, F.relu(torch.randn(2, inputs, 12, 11)), tile


def _aged(layer: nn.Conv2d | nn.Linear, preset: DevicePreset, tile: tuple[int, int]) -> LayerTiles:
    tiles = LayerTiles("layer", layer, preset, tile, seed=3)
    tiles.program(0)
    tiles.age(3600.0)
    return tiles


@settings(max_examples=40, deadline=None)
@given(_cases())
def test_fold_equals_the_tile(case: tuple[nn.Conv2d | nn.Linear, Tensor, tuple[int, int]]) -> None:
    layer, x, tile = case
    tiles = _aged(layer, _preset(None), tile)
    expected = ReferenceLayer(tiles, layer)(x)
    got = plain_layer(layer, tiles.effective_weight())(x)
    assert torch.linalg.vector_norm(got - expected) <= 1e-5 * torch.linalg.vector_norm(expected)


def _reference_codes(tiles: LayerTiles, layer: nn.Conv2d | nn.Linear, x: Tensor, full_scale: float) -> Tensor:
    """ADC codes of aihwkit's tiles, (slices, ..., outputs): their outputs without the digital scales."""
    if isinstance(layer, nn.Conv2d):
        reference = tiles.analog
        x = F.unfold(x, layer.kernel_size, layer.dilation, reference.padding, layer.stride).transpose(1, 2)
    step = 2.0 * QUIET.output_bound * QUIET.step(QUIET.adc_bits)
    codes = []
    for part, rows, row in zip(tiles.slices(), x.split(tiles.row_splits, dim=-1), tiles._grid, strict=True):
        y = torch.cat([tile(rows) for tile in row], dim=-1)
        codes.append(y / (part.scale * full_scale * step))
    return torch.stack(codes)


@settings(max_examples=40, deadline=None)
@given(_cases())
def test_fused_puts_out_the_codes_of_the_tile(
    case: tuple[nn.Conv2d | nn.Linear, Tensor, tuple[int, int]],
) -> None:
    layer, x, tile = case
    tiles = _aged(layer, _preset(QUIET), tile)
    full_scale = float(x.abs().quantile(0.99))  # some inputs clip
    tiles.set_input_range(full_scale)
    fused = FusedLayer(tiles, layer, QUIET)
    fused.input_range = full_scale
    expected = _reference_codes(tiles, layer, x, full_scale)
    got = torch.stack(list(fused.output_codes(x)))
    if isinstance(layer, nn.Conv2d):
        got = got.flatten(3).transpose(2, 3)
    assert got.shape == expected.shape
    assert torch.equal(got, got.round())
    assert got.abs().max() <= 127
    difference = (got - expected).abs()
    # float rounding may move a sum across a step, by one code and rarely: 1 in 10 000
    assert difference.max() <= 1.01
    assert int((difference > 0.5).sum()) <= max(1, 1e-4 * difference.numel())


@pytest.mark.parametrize("bits", [(0, 8), (8, 0), (4, 6), (0, 0)])
def test_fused_equals_the_tile_at_other_resolutions(bits: tuple[int, int]) -> None:
    torch.manual_seed(1)
    converters = ConverterModel(dac_bits=bits[0], adc_bits=bits[1], output_noise=0.0)
    layer, x = nn.Linear(70, 30), torch.randn(200, 70)
    tiles = _aged(layer, _preset(converters), (40, 20))
    tiles.set_input_range(2.0)
    reference, fused = ReferenceLayer(tiles, layer), FusedLayer(tiles, layer, converters)
    reference.input_range = fused.input_range = 2.0
    difference = (reference(x) - fused(x)).abs()
    assert int((difference > 1e-4).sum()) <= 2
    assert difference.mean() < 1e-4


def test_output_noise_has_the_stated_deviation() -> None:
    # 25 600 outputs of two slices: noise of each slice adds, scaled by column scale x input range.
    noisy = ConverterModel(adc_bits=0, dac_bits=0, output_noise=0.05, output_bound=1e6)
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 16, bias=False), torch.rand(1600, 64)
    tiles = _aged(layer, _preset(noisy), (32, 16))
    fused, quiet = FusedLayer(tiles, layer, noisy), F.linear(x, tiles.effective_weight())
    fused.input_range = 1.0
    first, second = tiles.slices()
    sigma = 0.05 * (first.scale.square() + second.scale.square()).sqrt()
    standardised = (fused(x) - quiet) / sigma
    n = standardised.numel()
    assert standardised.mean().abs() < 4 / n**0.5
    assert standardised.std().item() == pytest.approx(1.0, abs=4 / (2 * n) ** 0.5)


def test_input_noise_has_the_stated_deviation() -> None:
    noisy = ConverterModel(adc_bits=0, dac_bits=0, output_noise=0.0, input_noise=0.02, output_bound=1e6)
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 1, bias=False), torch.rand(20_000, 32)
    tiles = _aged(layer, _preset(noisy), (32, 16))
    tiles.set_input_range(1.0)
    reference, weight = ReferenceLayer(tiles, layer), tiles.effective_weight()
    reference.input_range = 1.0
    error = (reference(x) - F.linear(x, weight)).flatten()
    sigma = 0.02 * float(torch.linalg.vector_norm(weight))
    assert error.std().item() == pytest.approx(sigma, abs=4 * sigma / (2 * error.numel()) ** 0.5)


@pytest.mark.parametrize("kind", [ReferenceLayer, FusedLayer])
def test_noise_repeats_after_a_restart_and_differs_between_calls(kind: type) -> None:
    torch.manual_seed(0)
    converters = ConverterModel()
    layer, x = nn.Linear(20, 10), torch.rand(4, 20)
    tiles = _aged(layer, _preset(converters), (32, 32))
    tiles.set_input_range(1.0)
    noisy = kind(tiles, layer, converters) if kind is FusedLayer else kind(tiles, layer)
    noisy.input_range = 1.0
    noisy.restart_noise(7)
    first, second = noisy(x), noisy(x)
    before = torch.random.get_rng_state()
    noisy.restart_noise(7)
    assert torch.equal(noisy(x), first)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_empty_batches_pass_and_uncalibrated_layers_say_so(backend: str) -> None:
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    tiles = _aged(layer, _preset(QUIET), (32, 32))
    crossbar = ReferenceLayer(tiles, layer) if backend == "reference" else FusedLayer(tiles, layer, QUIET)
    with pytest.raises(MappingError, match=r"layer has no input range; call calibrate\(\)"):
        crossbar(torch.rand(1, 3, 8, 8))
    crossbar.input_range = 1.0
    assert crossbar(torch.rand(0, 3, 8, 8)).shape == (0, 5, 4, 4)
