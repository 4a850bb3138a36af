"""Fold and fused against aihwkit's own torch tile, layer by layer."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from aihwkit.nn import AnalogLinear
from aihwkit.simulator.configs import InferenceRPUConfig
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType, WeightNoiseType
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.parameters.mapping import MappingParameter
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nestevo_hw.base.errors import MappingError
from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset, find_preset
from nestevo_hw.crossbar.geometry import Geometry
from nestevo_hw.crossbar.layers import FusedLayer, plain_layer
from nestevo_hw.crossbar.reference import ReferenceLayer
from nestevo_hw.crossbar.tiles import LayerTiles

QUIET = ConverterModel(output_noise=0.0)
"""Converters without noise, so that two backends can be compared code by code."""


PCM = find_preset("pcm")
DEVICES = (
    PCM, replace(PCM, pairs=2), find_preset("hermes"), find_preset("reram-cmo"),
    replace(PCM, weight_bits=6, cell_bits=2), replace(PCM, stuck_off=0.05, stuck_on=0.02),
)  # fmt: skip


def _preset(converters: ConverterModel | None, device: DevicePreset = PCM) -> DevicePreset:
    return replace(device, converters=converters)


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
@given(_cases(), st.sampled_from(DEVICES))
def test_fold_equals_the_tile(
    case: tuple[nn.Conv2d | nn.Linear, Tensor, tuple[int, int]], device: DevicePreset
) -> None:
    layer, x, tile = case
    tiles = _aged(layer, _preset(None, device), tile)
    expected = ReferenceLayer(tiles, layer)(x)
    got = plain_layer(layer, tiles.effective_weight())(x)
    assert torch.linalg.vector_norm(got - expected) <= 1e-5 * torch.linalg.vector_norm(expected)


def _reference_codes(tiles: LayerTiles, layer: nn.Conv2d | nn.Linear, x: Tensor, full_scale: float) -> Tensor:
    """ADC codes of aihwkit's tiles, (slices, ..., outputs): their outputs without the digital scales."""
    reference = ReferenceLayer(tiles, layer)
    if isinstance(layer, nn.Conv2d):
        x = F.unfold(x, layer.kernel_size, layer.dilation, Geometry.of(layer).padding, layer.stride).transpose(1, 2)
    step = 2.0 * QUIET.output_bound * QUIET.step(QUIET.adc_bits)
    codes = []
    for part, rows, row in zip(tiles.slices(), x.split(tiles.row_splits, dim=-1), reference.grid, strict=True):
        for tile in row:
            tile.set_input_range(full_scale)
        y = torch.cat([tile(rows) for tile in row], dim=-1)
        codes.append(y / (part.scale * full_scale * step))
    return torch.stack(codes)


@settings(max_examples=40, deadline=None)
@given(_cases(), st.sampled_from(DEVICES))
def test_fused_puts_out_the_codes_of_the_tile(
    case: tuple[nn.Conv2d | nn.Linear, Tensor, tuple[int, int]], device: DevicePreset
) -> None:
    layer, x, tile = case
    tiles = _aged(layer, _preset(QUIET, device), tile)
    # A column of a single weight that is at its largest conductance puts sums exactly between two codes.
    assume(not bool(tiles.weight.abs().eq(1.0).any()))
    full_scale = float(x.abs().quantile(0.99))  # some inputs clip
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
    reference, weight = ReferenceLayer(tiles, layer), tiles.effective_weight()
    reference.input_range = 1.0
    error = (reference(x) - F.linear(x, weight)).flatten()
    sigma = 0.02 * float(torch.linalg.vector_norm(weight))
    assert error.std().item() == pytest.approx(sigma, abs=4 * sigma / (2 * error.numel()) ** 0.5)


def _cpp_tile(tiles: LayerTiles, forward: IOParameters) -> AnalogLinear:
    """aihwkit's C++ tile with the conductances of a single tile."""
    config = InferenceRPUConfig(forward=forward, mapping=MappingParameter(weight_scaling_omega=0.0))
    columns, rows = tiles.weight.shape
    linear = AnalogLinear(rows, columns, bias=False, rpu_config=config).eval()
    linear.set_weights(tiles.weight)
    return linear


@pytest.mark.parametrize("strength", [1.0, 400.0])
def test_ir_drop_is_that_of_the_cpp_tile(strength: float) -> None:
    torch.manual_seed(0)
    converters = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6, ir_drop=strength)
    layer, x = nn.Linear(200, 30, bias=False), 2.0 * torch.rand(64, 200) - 1.0
    tiles = _aged(layer, _preset(converters), (256, 64))
    fused = FusedLayer(tiles, layer, converters)
    fused.input_range = 1.0
    io = IOParameters(inp_res=-1, out_res=-1, out_noise=0.0, out_bound=0.0, inp_bound=1.0, ir_drop=strength,
                      noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE)  # fmt: skip
    expected = _cpp_tile(tiles, io)(x).detach()
    (part,) = tiles.slices()
    got = fused(x) / part.scale
    rounding = 4 * layer.in_features**0.5 * torch.finfo(torch.float32).eps
    assert torch.allclose(got, expected, rtol=0.0, atol=rounding * float(expected.abs().max()))
    without = F.linear(x, part.weight)
    assert (got - without).abs().max() > 1e-4 * strength * without.abs().mean()


@pytest.mark.parametrize(
    ("law", "theirs"), [("constant", WeightNoiseType.ADDITIVE_CONSTANT), ("pcm", WeightNoiseType.PCM_READ)]
)
def test_read_noise_has_the_deviation_of_the_cpp_tile(law: Literal["constant", "pcm"], theirs: WeightNoiseType) -> None:
    torch.manual_seed(0)
    sigma = 0.05
    converters = ConverterModel(
        dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6, read_noise=sigma, read_noise_law=law
    )
    layer, x = nn.Linear(60, 8, bias=False), torch.rand(1, 60).expand(20_000, 60)
    tiles = _aged(layer, _preset(converters), (64, 64))
    fused = FusedLayer(tiles, layer, converters)
    fused.input_range = 1.0
    (part,) = tiles.slices()
    error = fused(x) / part.scale - F.linear(x, part.weight)
    io = IOParameters(inp_res=-1, out_res=-1, out_noise=0.0, out_bound=0.0, w_noise=sigma, w_noise_type=theirs,
                      noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE)  # fmt: skip
    expected = (_cpp_tile(tiles, io)(x) - F.linear(x, part.weight)).std(0)
    tolerance = 5 * expected * (1 / (2 * len(x))) ** 0.5 * 2**0.5  # both are estimates
    assert bool(((error.std(0) - expected).abs() < tolerance).all())
    power = x[0].square() @ (torch.ones_like(part.weight.T) if law == "constant" else part.weight.abs().T)
    assert torch.allclose(error.std(0), sigma * power.sqrt(), rtol=5 / (2 * len(x)) ** 0.5)


def test_read_noise_and_ir_drop_of_a_convolution_are_those_of_its_patches() -> None:
    torch.manual_seed(0)
    converters = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6, ir_drop=300.0)
    conv, x = nn.Conv2d(7, 9, 3, stride=2, padding=1, bias=False), torch.rand(2, 7, 9, 8)
    linear = nn.Linear(63, 9, bias=False)
    with torch.no_grad():
        linear.weight.copy_(conv.weight.flatten(1))
    outputs = []
    for layer, inputs in ((conv, x), (linear, F.unfold(x, 3, padding=1, stride=2).transpose(1, 2))):
        fused = FusedLayer(_aged(layer, _preset(converters), (25, 5)), layer, converters)
        fused.input_range = 1.0
        outputs.append(fused(inputs))
    assert torch.allclose(outputs[0].flatten(2).transpose(1, 2), outputs[1], atol=1e-5)


@pytest.mark.parametrize("kind", [ReferenceLayer, FusedLayer])
def test_noise_repeats_after_a_restart_and_differs_between_calls(kind: type) -> None:
    torch.manual_seed(0)
    converters = ConverterModel()
    layer, x = nn.Linear(20, 10), torch.rand(4, 20)
    tiles = _aged(layer, _preset(converters), (32, 32))
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
    with pytest.raises(MappingError, match=r"layer has no input range; calibrate it"):
        crossbar(torch.rand(1, 3, 8, 8))
    crossbar.input_range = 1.0
    assert crossbar(torch.rand(0, 3, 8, 8)).shape == (0, 5, 4, 4)
