"""Weights at the edge: columns, slices and layers of zeros, tiles of one weight, other largest conductances."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.devices import DAY_S, PRESETS, DevicePreset, find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tiles import LayerTiles

CMO = find_preset("reram-cmo", perfect_io=True)
CONVERTING = [preset for preset in PRESETS.values() if preset.converters is not None]


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def _tiles(preset: DevicePreset, weight: Tensor) -> LayerTiles:
    tiles = LayerTiles("layer", _linear(weight), preset, (256, 256), seed=0)
    tiles.program(0)
    return tiles


def _output_error(weight: Tensor, x: Tensor) -> float:
    teacher = AnalogTeacher(_linear(weight), device="pcm")
    teacher.calibrate([x])
    teacher.program()
    expected = x @ weight.T
    return float(torch.linalg.vector_norm(teacher.module(x) - expected) / torch.linalg.vector_norm(expected))


def test_pruned_inputs_cost_no_more_than_inputs_that_are_cut_out() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(16, 1000), torch.randn(64, 1000)
    weight[:, :500] = 0.0  # two of four row slices hold zeros only
    pruned, cut = _output_error(weight, x), _output_error(weight[:, 500:], x[:, 500:])
    # Other draws, and input ranges of other samples: 1024 outputs know a standard deviation to 2 %, 5 of those.
    assert pruned == pytest.approx(cut, rel=0.12)


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_a_pruned_filter_puts_out_its_bias_exactly(backend: Backend) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 12, 3), torch.rand(2, 3, 9, 9)
    with torch.no_grad():
        layer.weight[4:8] = 0.0
    teacher = AnalogTeacher(layer, device="pcm", backend=backend)
    teacher.calibrate([x])
    teacher.program()
    teacher.age(DAY_S)
    y = teacher.module(x)
    assert torch.equal(y[:, 4:8], layer.bias.detach()[4:8].view(1, 4, 1, 1).expand(2, 4, 7, 7))
    assert not torch.equal(y[:, :4], layer(x)[:, :4])


@pytest.mark.parametrize("preset", CONVERTING, ids=lambda preset: preset.name)
def test_a_layer_that_starts_at_zero_is_programmed_as_zero(preset: DevicePreset) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"head": nn.Linear(20, 10), "zero": nn.Conv2d(4, 4, 1)})
    for values in model["zero"].parameters():
        nn.init.zeros_(values)
    age_s = preset.times_s[-1] if preset.times_s else DAY_S
    for device in (replace(preset, stuck_on=0.1), replace(preset, converters=None)):
        teacher = AnalogTeacher(model, device=device)
        for layer in teacher.module.values():
            layer.input_range = 1.0
        teacher.program()
        teacher.age(age_s)
        assert torch.equal(teacher.module["zero"](torch.rand(2, 4, 3, 3)), torch.zeros(2, 4, 3, 3))
        assert teacher.weight_errors()["zero"] is None
        assert teacher.report.totals.weight_error is not None
        assert teacher.report.totals.weight_error > 0.0


@pytest.mark.parametrize("level", [0.5, -0.25])
def test_a_tile_of_equal_weights_has_the_error_of_its_conductance(level: float) -> None:
    """Such a tile has no range of its own: the largest weight either way is at an end of the conductances.

    Programmed within sigma = 0.00081107 + 0.00106879 g, relaxed by -0.08900206 ln t, microsiemens (Falcone et al.).
    """
    tiles = _tiles(CMO, torch.full((200, 200), level))
    conductance = 88.2 if level > 0 else 9.0
    unit = (88.2 - 9.0) / 2 / abs(level)  # microsiemens for a weight of 1
    error, n = tiles.effective_weight() - level, 40_000
    expected = (0.00081107 + 0.00106879 * conductance) / unit
    assert error.std().item() == pytest.approx(expected, rel=5 / (2 * n) ** 0.5)
    assert error.mean().item() == pytest.approx(0.0, abs=5 * expected / n**0.5)
    tiles.age(DAY_S)
    if level > 0:  # at the lower end the range of conductances cuts it
        shift = (tiles.effective_weight() - level).mean().item()
        # The upper end cuts the few that relax upwards: of a spread of 0.89 around a shift of -1.01.
        assert shift == pytest.approx(-0.08900206 * math.log(DAY_S) / unit, rel=0.15)


def test_noise_in_microsiemens_is_more_of_a_smaller_range() -> None:
    smaller = replace(CMO, g_max_us=48.6)  # half of the range above 9 microsiemens
    weight = torch.full((200, 200), 1.0)
    weight[:, 0], weight[:, 1] = -1.0, 0.0
    for preset, highest in ((CMO, 88.2), (smaller, 48.6)):
        error = (_tiles(preset, weight).effective_weight() - weight)[:, 2:]
        expected = (0.00081107 + 0.00106879 * highest) / ((highest - 9.0) / 2)
        assert error.std().item() == pytest.approx(expected, rel=5 / (2 * error.numel()) ** 0.5)


@pytest.mark.parametrize(
    ("name", "g_max_us"), [("pcm", 30.0), ("hermes", 30.0), ("reram-cmo", 90.0), ("reram-wan", 41.0)]
)
def test_a_conductance_beyond_the_fit_is_refused_in_one_line(name: str, g_max_us: float) -> None:
    with pytest.raises(ConfigError, match=f"device {name} was characterised from .* to {g_max_us:g} uS"):
        replace(find_preset(name), g_max_us=g_max_us)
