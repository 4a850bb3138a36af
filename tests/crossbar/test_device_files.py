"""Devices from files: their statistics against numpy, SciPy and aihwkit, and what is refused."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import process_time

import numpy as np
import pytest
import torch
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import constants
from scipy.stats import binom, ks_2samp, kstest
from torch import Tensor, nn

from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.crossbar.cells import OwnCells, PairedCells, cells_of, draws, noise_model, with_stuck
from nestevo_hw.crossbar.devices import DAY_S, PRESETS, DevicePreset, find_preset, stored_preset
from nestevo_hw.crossbar.devices.file import load_device
from nestevo_hw.crossbar.devices.law import Curve
from nestevo_hw.crossbar.devices.model import value_at
from nestevo_hw.crossbar.devices.writing import device_file, example_text
from nestevo_hw.crossbar.gaussian import NoiseSource
from nestevo_hw.crossbar.tiles import LayerTiles
from nestevo_hw.testing.devices import DEVICE_CHECKS, check_device

CPU = torch.device("cpu")
EXAMPLES = Path(__file__).parents[2] / "examples"
WINDOW = "[conductance]\ng_max_us = 25.0\n"


def device(text: str, name: str = "mine.toml") -> DevicePreset:
    return load_device(name, text)


def sampled(values: Tensor, *, mean: float, deviation: float) -> None:
    """The sample has this mean and deviation, to four standard errors."""
    n = values.numel()
    assert float(values.mean()) == pytest.approx(mean, abs=4 * deviation / math.sqrt(n))
    assert float(values.std()) == pytest.approx(deviation, abs=4 * deviation / math.sqrt(2 * n))


# --- the published PCM statistics, written out


def test_the_example_draws_what_aihwkits_pcm_draws() -> None:
    written, theirs = noise_model(device(example_text())), PCMLikeNoiseModel(g_max=25.0)
    g = torch.linspace(0.0, 25.0, 501)
    for value in (-1.3, 0.0, 0.8, 2.5):
        with draws(lambda x, value=value: torch.full_like(x, value)):
            states = [m.apply_programming_noise_to_conductance(g.clone()) for m in (written, theirs)]
            exponents = [m.generate_drift_coefficients(g.clone()) for m in (written, theirs)]
            aged = [m.apply_drift_noise_to_conductance(g, exponents[1], DAY_S) for m in (written, theirs)]
        for mine, other in (states, exponents, aged):
            assert torch.allclose(mine, other, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("seconds", [1.0, DAY_S])
def test_the_example_has_the_distribution_of_aihwkits_pcm(seconds: float) -> None:
    weights = torch.tensor([0.0, 0.05, -0.3, 0.9])[:, None].repeat(1, 5000)
    weights[:, 0], weights[:, 1] = 1.0, -1.0
    torch.manual_seed(2)
    model = PCMLikeNoiseModel(g_max=25.0)
    programmed, drift = model.apply_programming_noise(weights)
    expected = programmed, model.apply_drift_noise(programmed, drift, seconds)
    cells, noise = cells_of(device(example_text()), CPU, fixed_scale=False), NoiseSource(5)
    assert isinstance(cells, PairedCells)
    own, exponents = cells.program(weights, noise)
    for theirs, ours in zip(expected, (own, cells.age(own, exponents, seconds, noise, noise)), strict=True):
        for level in range(len(weights)):
            assert ks_2samp(theirs[level, 2:].numpy(), ours[level, 2:].numpy()).pvalue > 1e-4


def test_programming_noise_is_the_polynomial_in_microsiemens() -> None:
    model = noise_model(device(example_text()))
    torch.manual_seed(0)
    for target in (5.0, 15.0, 25.0):
        x = target / 25.0
        programmed = model.apply_programming_noise_to_conductance(torch.full((40_000,), target))
        sampled(programmed, mean=target, deviation=0.26348 + 1.9650 * x - 1.1731 * x * x)


# --- curves


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=12, unique=True), st.integers(0, 2**31))
def test_tables_are_interpolated_as_numpy_does(points: list[float], seed: int) -> None:
    points = sorted(points)
    if min(b - a for a, b in pairwise(points)) < 1e-6:
        return
    values = np.random.default_rng(seed).normal(size=len(points))
    at = np.linspace(-10.0, 110.0, 301)
    curve = Curve(target_us=tuple(points), values=tuple(float(v) for v in values))
    found = value_at(curve, torch.from_numpy(at))
    assert np.allclose(found.numpy(), np.interp(at, points, values), atol=1e-9)


def test_fitted_curves_and_their_limits() -> None:
    g = np.linspace(0.5, 40.0, 80)
    at, x = torch.from_numpy(g), np.linspace(0.5, 40.0, 80) / 20.0
    curves = {
        Curve(polynomial=(1.0, -2.0, 0.5), reference_us=20.0): np.polyval([0.5, -2.0, 1.0], x),
        Curve(polynomial=(1.0, -2.0), reference_us=1.0): 1.0 - 2.0 * g,
        Curve(logarithm=(0.3, -0.1), reference_us=20.0): 0.3 - 0.1 * np.log(x),
        Curve(power=(0.2, -0.65), reference_us=20.0, most=0.4): np.minimum(0.2 * x**-0.65, 0.4),
        Curve(constant=3.0, least=4.0): np.full_like(g, 4.0),
    }
    for curve, expected in curves.items():
        assert np.allclose(value_at(curve, at).numpy(), expected, rtol=1e-12)


# --- retention, temperature, read noise

RETENTION = """
[[retention]]
time_s = 10.0
mean_us = 0.0
deviation_us = 0.2
[[retention]]
time_s = 1000.0
mean_us = { target_us = [0.0, 25.0], values = [0.0, -2.0] }
deviation_us = 0.6
"""


@pytest.mark.parametrize(("seconds", "mean", "deviation"), [(10.0, 0.0, 0.2), (100.0, -0.8, 0.4), (1000.0, -1.6, 0.6)])
def test_retention_moves_conductances_as_the_table_says(seconds: float, mean: float, deviation: float) -> None:
    model = noise_model(device(WINDOW + RETENTION))
    torch.manual_seed(1)
    g = torch.full((40_000,), 20.0)
    place = model.generate_drift_coefficients(g)
    sampled(model.apply_drift_noise_to_conductance(g, place, seconds) - g, mean=mean, deviation=deviation)
    early, late = (model.apply_drift_noise_to_conductance(g, place, t) for t in (10.0, 1000.0))
    assert torch.allclose((late - 20.0 + 1.6) / 0.6, (early - 20.0) / 0.2, atol=1e-4)  # a device keeps its place


@pytest.mark.parametrize("bits", ["", "[cells]\nweight_bits = 5\ncell_bits = 2\n", "[cells]\npairs = 2\n"])
def test_retention_is_in_microsiemens_whatever_programming_noise_adds_to_the_largest_weight(bits: str) -> None:
    lost = "[programming]\ndeviation_us = 1.0\n[[retention]]\ntime_s = 100.0\nmean_us = -2.0\ndeviation_us = 0.0\n"
    layer = nn.Linear(64, 48, bias=False)
    tiles = LayerTiles("layer", layer, device(WINDOW + lost + bits), (64, 48), seed=1)
    tiles.program(0)
    before = tiles.weight.clone()
    assert before.abs().max() > 1.02  # of a full scale of 1
    tiles.age(100.0)
    share = 2.0 / 25.0
    for weight, aged in ((before, tiles.weight), (-before, -tiles.weight)):
        # With two pairs the first alone carries up to half of the weight; with a second in use both lose.
        carried = (weight > share) & (weight < 0.5) if "pairs" in bits else weight > share
        one = share / 2.0 if "pairs" in bits else share
        assert int(carried.sum()) > 50
        assert torch.allclose(aged[carried], (weight - one)[carried], atol=1e-5)


@pytest.mark.parametrize("reached", [0.5, 1.0, 1.2])
@pytest.mark.parametrize("cells", ["", "[cells]\nweight_bits = 5\ncell_bits = 2\n", "[cells]\npairs = 2\n"])
@pytest.mark.parametrize("least", [0.0, 5.0])
def test_cells_age_from_what_they_reached_however_far_that_is_from_their_targets(
    reached: float, cells: str, least: float
) -> None:
    """Programming that ends at a share of the target: a retention of -2 still takes 2 uS from each cell."""
    law = (
        f"[conductance]\ng_min_us = {least}\ng_max_us = 25.0\n"
        f"[programming]\nmean_us = {{ polynomial = [{least * (1.0 - reached)}, {reached}], reference_us = 1.0 }}\n"
        "deviation_us = 0.0\n"
        "[[retention]]\ntime_s = 100.0\nmean_us = -2.0\ndeviation_us = 0.0\n"
    )
    tiles = LayerTiles("layer", nn.Linear(64, 48, bias=False), device(law + cells), (64, 48), seed=1)
    tiles.program(0)
    before = tiles.weight.clone()
    tiles.age(100.0)
    window = 25.0 - least
    pairs = 2 if "pairs" in cells else 1
    one = before.abs() * window * pairs  # microsiemens above the least
    share = [one.clamp(max=window), (one - window).clamp(min=0.0)][:pairs] if pairs == 2 else [one]
    floor = -min(least, 2.0)  # the idle device of a pair falls too, but not below zero
    expected = sum(((x - 2.0).clamp(min=-least) - floor) for x in share) / (window * pairs)
    torch.testing.assert_close(tiles.weight.abs(), expected, atol=1e-5, rtol=1e-4)


def test_retention_has_a_model_between_its_points_only() -> None:
    preset = device(WINDOW + RETENTION)
    for seconds in (0.0, 10.0, 500.0, 1000.0):
        preset.check_time(seconds)
    with pytest.raises(ConfigError, match="no model between 0 s and 10 s"):
        preset.check_time(5.0)
    with pytest.raises(ConfigError, match="device mine has no model beyond 1000 s, got 1001 s"):
        preset.check_time(1001.0)


def test_heat_is_time() -> None:
    hot = "[temperature]\nreference_c = 25.0\noperating_c = 85.0\nactivation_ev = 0.6\n"
    per_kelvin = constants.e * 0.6 / constants.k
    factor = math.exp(per_kelvin * (1 / 298.15 - 1 / 358.15))
    cold, warm = device(WINDOW + RETENTION), device(WINDOW + RETENTION + hot)
    g, place = torch.full((4,), 20.0), torch.tensor([-1.0, 0.0, 1.0, 2.0])
    aged = noise_model(warm).apply_drift_noise_to_conductance(g, place, 300.0 / factor)
    assert torch.allclose(aged, noise_model(cold).apply_drift_noise_to_conductance(g, place, 300.0), atol=1e-5)
    assert warm.latest_s == pytest.approx(1000.0 / factor, rel=1e-6)
    drifting = noise_model(device(WINDOW + hot + "[drift]\nt0_s = 20.0\nmean = 0.05\ndeviation = 0.0\n"))
    nu = torch.full((4,), 0.05)
    expected = 20.0 * (1 + 3600.0 * factor / 20.0) ** -0.05
    assert drifting.apply_drift_noise_to_conductance(g, nu, 3600.0).tolist() == pytest.approx([expected] * 4, rel=1e-5)


def test_read_noise_grows_with_the_root_of_the_logarithm_of_time() -> None:
    text = WINDOW + "[read_noise]\nt_read_s = 1e-6\n"
    torch.manual_seed(3)
    g, still = torch.full((40_000,), 10.0), torch.zeros(40_000)
    grown = math.sqrt(math.log((DAY_S + 1e-6) / 2e-6))
    relative = noise_model(device(text + "relative = 0.01\n")).apply_drift_noise_to_conductance(g, still, DAY_S)
    absolute = noise_model(device(text + "deviation_us = 0.3\n")).apply_drift_noise_to_conductance(g, still, DAY_S)
    sampled(relative, mean=10.0, deviation=0.1 * grown)
    sampled(absolute, mean=10.0, deviation=0.3 * grown)


# --- stuck devices


def test_stuck_shares_are_binomial_and_random_ones_lie_anywhere() -> None:
    preset = device(WINDOW + "g_min_us = 5.0\n[stuck]\nat_g_min = 0.02\nat_g_max = 0.01\nrandom = 0.05\n")
    weights = torch.full((400, 400), 0.5)
    weights[0] = 1.0
    chance = torch.rand(2, 400, 400, generator=torch.Generator().manual_seed(4))
    chance[1] = 0.5  # the idle device of each pair works
    shown = 5.0 + 20.0 * with_stuck(preset, weights, chance, (-1.0, 1.0))[1:]
    n = shown.numel()
    for share, hit in ((0.02, shown < 5.0 + 1e-3), (0.01, shown > 25.0 - 1e-3)):
        low, high = binom.interval(1 - 1e-4, n, share)
        assert low <= int(hit.sum()) <= high
    anywhere = shown[(shown > 5.0 + 1e-3) & (shown < 25.0 - 1e-3) & ((shown - 15.0).abs() > 1e-3)]
    low, high = binom.interval(1 - 1e-4, n, 0.05)
    assert low - 20 <= len(anywhere) <= high
    assert kstest(anywhere.numpy(), "uniform", (5.0, 20.0)).pvalue > 1e-4


# --- the window of conductances


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "ideal"])
def test_noise_in_microsiemens_stays_when_the_window_changes(name: str) -> None:
    preset = PRESETS[name]
    low, high = preset.g_min_us, preset.g_max_us
    g = torch.linspace(low + 0.2 * (high - low), low + 0.5 * (high - low), 50)
    narrow = replace(preset, g_min_us=low + 0.1 * (high - low), g_max_us=low + 0.6 * (high - low))
    with draws(torch.ones_like):
        noise = [noise_model(p).apply_programming_noise_to_conductance(g.clone()) - g for p in (preset, narrow)]
    assert torch.equal(*noise)
    assert bool(noise[0].any())


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "ideal"])
def test_a_narrower_window_is_a_larger_relative_error(name: str) -> None:
    preset = PRESETS[name]
    half = replace(preset, g_max_us=0.5 * (preset.g_min_us + preset.g_max_us))
    weights = torch.randn(120, 120, generator=torch.Generator().manual_seed(0))
    weights /= weights.abs().max()
    errors = [
        float(
            (cells_of(p, CPU, fixed_scale=False).program(weights, NoiseSource(1))[0] - weights).square().mean().sqrt()
        )
        for p in (preset, half)
    ]
    assert errors[1] > 1.1 * errors[0]


def test_weights_map_to_the_whole_window_and_no_further() -> None:
    preset = device(WINDOW + "g_min_us = 4.0\n[programming]\ndeviation_us = 0.5\n")
    assert isinstance(cells_of(preset, CPU, fixed_scale=False), OwnCells)
    (plus, minus), _ = noise_model(preset).g_converter.convert_to_conductances(torch.tensor([-1.0, 0.0, 0.5, 1.0]))
    assert plus.tolist() == pytest.approx([4.0, 4.0, 14.5, 25.0])
    assert minus.tolist() == pytest.approx([25.0, 4.0, 4.0, 4.0])
    with pytest.raises(ConfigError, match="device pcm was characterised from 0 to 25 uS, got a window from 0 to 40 uS"):
        replace(PRESETS["pcm"], g_max_us=40.0)


# --- files, written and read


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_device_comes_back_from_its_file(name: str) -> None:
    shipped = PRESETS[name]
    found = device(device_file(shipped, ["a comment"]), f"{name}.toml")
    assert replace(found, several_pairs=shipped.several_pairs, idle_is_silent=shipped.idle_is_silent) == shipped
    assert found.idle_is_silent == shipped.idle_is_silent


@pytest.mark.parametrize("text", [example_text(), (EXAMPLES / "reram-table.toml").read_text()], ids=["pcm", "table"])
def test_a_device_of_ones_own_comes_back_from_its_file(text: str) -> None:
    found = device(text)
    assert device(device_file(found)) == found


def test_a_law_of_functions_fits_no_file() -> None:
    preset = replace(PRESETS["pcm"], noise_law=lambda _: PCMLikeNoiseModel())
    with pytest.raises(ConfigError, match="is a function, which no file can hold"):
        device_file(preset)


FILES = {
    "example": example_text(),
    "table": (EXAMPLES / "reram-table.toml").read_text(),
    "wide": WINDOW + "g_min_us = 3.0\n[programming]\ndeviation_us = 0.4\n[drift]\nt0_s = 1.0\nmean = 0.03\n"
    "deviation = 0.01\n[cells]\npairs = 2\n[stuck]\nrandom = 0.002\n",
    **{name: device_file(preset) for name, preset in PRESETS.items()},
}


@pytest.mark.parametrize("check", DEVICE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["example", "table", "wide"])
def test_devices_from_files_hold_to_what_every_device_must(name: str, check: object) -> None:
    preset = replace(device(FILES[name], f"{name}.toml"), layers=())
    assert callable(check)
    check(preset)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_shipped_devices_from_files_do_so_too(name: str) -> None:
    check_device(device(FILES[name], f"{name}.toml"))


# --- what is refused

CURVE = WINDOW + "[programming]\ndeviation_us = "
BAD = {
    "": "conductance: field required",
    "conductance = 3": "conductance: expected an object",
    "[conductance]\ng_max_us = nan": "conductance.g_max_us: input should be a number above 0",
    "[conductance]\ng_max_us = -1.0": "conductance.g_max_us: input should be a number above 0",
    "[conductance]\ng_max_us = inf": "conductance.g_max_us: input should be a number above 0",
    "[conductance]\ng_max_us = '25'": "conductance.g_max_us: input should be a number above 0",
    "[conductance]\ng_max_us = 2.0\ng_min_us = 2.0": "need 0 <= g_min_us < g_max_us, got 2 and 2",
    "[conductance]\ng_max_us = 9.0\ncharacterised_us = [0.0, 8.0]": "characterised from 0 to 8 uS",
    WINDOW + "g_max = 25.0": "conductance.g_max: there is no such key",
    WINDOW + "[drifts]": "drifts: there is no such key",
    CURVE + "-0.1": "programming.deviation_us: need a finite number of 0 or more from 0 to 25 uS, got -0.1 at 0 uS",
    CURVE + "nan": "programming.deviation_us: input should be a number",
    CURVE + "'much'": "programming.deviation_us: expected an object",
    CURVE + "{}": "programming.deviation_us: need one of constant, polynomial, .* got none",
    CURVE + "{ constant = 1.0, power = [1.0, 1.0] }": "got constant and power",
    CURVE + "{ polynomial = [] , reference_us = 1.0 }": "need a polynomial of 1 to 20 coefficients, got 0",
    CURVE + "{ polynomial = [1.0] }": "need reference_us beside polynomial",
    CURVE + "{ polynomial = [1.0, -1.0], reference_us = 1.0 }": "programming.deviation_us: need a finite number of 0",
    CURVE + "{ constant = 1.0, reference_us = 1.0 }": "reference_us has no meaning beside constant",
    CURVE + "{ target_us = [], values = [] }": "need 2 to 10000 conductances in target_us and as many values, got 0",
    CURVE + "{ target_us = [0.0, 25.0], values = [1.0] }": "got 2 and 1",
    CURVE + "{ target_us = [0.0, 25.0] }": "need target_us and values together",
    CURVE + "{ target_us = [0.0, 9.0, 8.0], values = [1, 2, 3] }": "need rising conductances in target_us",
    CURVE + "{ target_us = [0.0, 9.0], values = [1, 2] }": "table covers 0 to 9 uS, the window is 0 to 25",
    CURVE + "{ target_us = [-1.0, 30.0], values = [1, 2] }": r"target_us\[0\]: input should be a number from 0",
    CURVE + "{ constant = 1.0, least = 3.0, most = 2.0 }": "need least of at most most = 2, got 3",
    CURVE + str([[0.0]] * 50_000): "programming.deviation_us: expected an object",
    CURVE + "{ target_us = %s, values = [1, 2] }" % ([0.0] * 100_000): "got 100000 and 2",
    WINDOW + "[drift]\nt0_s = 0.0\nmean = 0.1\ndeviation = 0.1": "drift.t0_s: input should be a number above 0",
    WINDOW + "[drift]\nt0_s = 1.0\nmean = 0.1": "drift.deviation: field required",
    WINDOW + "[drift]\nt0_s = 1.0\nmean = -0.1\ndeviation = 0.1":
        "drift.mean: need an exponent of 0 to 10 from 0 to 25 uS, got -0.1 at 0 uS",
    WINDOW + "[drift]\nt0_s = 1.0\nmean = 1e9\ndeviation = 0.1": "drift.mean: need an exponent of 0 to 10",
    WINDOW + "[read_noise]\nt_read_s = 1e-6": "read_noise: need one of relative and deviation_us",
    WINDOW + RETENTION.replace("1000.0", "10.0"): "retention: need at most 10000 points with rising time_s",
    WINDOW + RETENTION + "[drift]\nt0_s = 1.0\nmean = 0.1\ndeviation = 0.1": "give either drift or retention",
    WINDOW + RETENTION + "[times]\nlatest_s = 1.0": "times: leave it out beside retention",
    WINDOW + "[times]\nearliest_s = 10.0\nlatest_s = 1.0": "times.*need earliest_s <= latest_s, got 10 and 1",
    WINDOW + "[temperature]\nreference_c = 25\noperating_c = 55\nactivation_ev = 1": "nothing changes with time",
    WINDOW + RETENTION + "[temperature]\nreference_c = -300\noperating_c = 5\nactivation_ev = 1":
        "temperature.reference_c: input should be a number above -273.15",
    WINDOW + "[stuck]\nrandom = 1.5": "stuck.random: input should be a number from 0 to 1",
    WINDOW + "[stuck]\nrandom = 0.6\nat_g_min = 0.6": "sum to 1 or less",
    WINDOW + "[cells]\npairs = 0": "cells.pairs: input should be a number from 1",
    WINDOW + "[cells]\nweight_bits = 8": "bit slicing needs both weight_bits and cell_bits",
    WINDOW + "[converters]\nadc_bits = 1": "converters: need adc_bits = 0",
    WINDOW + "[converters]\noutput_bound = nan": "converters.output_bound: input should be a number above 0",
    WINDOW + "[[layers]]\ntile = 5": r"layers\[0\].pattern: field required",
    WINDOW + "[[layers]]\npattern = '*'\ntile = 0": r"layers\[0\].tile: input should be a number from 1",
    WINDOW + "[[layers]]\npattern = '*'\nadc_bits = 4": "layers '.': device mine has no converters to change",
    WINDOW + "[[layers]]\npattern = '*'\ndevice = 'flash'": r"layers\[0\].device: input should be one of ideal, pcm",
    "chip = 'none'\n" + WINDOW: "chip: input should be one of",
    "model = 'os:getcwd'\n" + WINDOW: "model: need the class of an aihwkit noise model as module:Class",
    "model = 'nowhere.at:All'\n" + WINDOW: "cannot import 'All' from module 'nowhere.at'",
    "model = 'aihwkit.inference:PCMLikeNoiseModel'\n" + CURVE + "1.0": "model: give either it or programming",
    "model = 'aihwkit.inference:PCMLikeNoiseModel'\n" + WINDOW + "[model_arguments]\nnoise = 1":
        "could not be called: .* unexpected keyword argument 'noise'",
    "model = 'aihwkit.inference:PCMLikeNoiseModel'\n" + WINDOW + "[model_arguments]\nt_0 = 1979-05-27":
        "model_arguments: need numbers, texts",
    "model = 'aihwkit.inference:PCMLikeNoiseModel'\n" + WINDOW + "[model_arguments]\nprog_coeff = ['a']":
        "the model cannot program a matrix and age it by 3600 s: TypeError",
    WINDOW + "[model_arguments]\nt_0 = 1": "model_arguments: need model",
    "a = " + "[" * 100_000: "nested too deeply",
    "x" * 3_000_000: "larger than 1 MB",
    WINDOW + "[converters]\nadc_bits = " + "1" * 5000: "Exceeds the limit",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=[str(i) for i in range(len(BAD))])
def test_bad_files_are_refused_at_once_in_one_line_with_file_and_key(text: str, message: str) -> None:
    started = process_time()
    with pytest.raises(ConfigError, match=rf"^mine\.toml.*{message}") as refused:
        device(text)
    assert process_time() - started < 1.0
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "no.toml", "no file"),
        (tmp_path, "unknown device"),
        (tmp_path / "d.toml", "d.toml"),
    ):
        if path.name == "d.toml":
            path.mkdir()
        with pytest.raises(ConfigError, match=message):
            find_preset(str(path))


def test_what_columns_and_converters_may_have_are_keys_and_come_back() -> None:
    text = (
        "reference_column = true\nmodel = 'aihwkit.inference.noise.reram:ReRamCMONoiseModel'\n"
        "[model_arguments]\nacceptance_range = 2\n[conductance]\ng_max_us = 88.2\ng_min_us = 9.0\n"
        "[converters]\nadc_range = 'calibrated'\nadc_inl = 0.5\ncolumn_calibration = true\nir_drop_model = 'ladder'\n"
        "[[layers]]\npattern = 'a'\nadc_range = 'fixed'\n"
    )
    preset = device(text)
    io = preset.at("b").converters
    assert io is not None
    assert (preset.reference_column, preset.relaxation) == (True, "own")  # as all of this class
    assert (io.adc_range, io.adc_inl, io.column_calibration, io.ir_drop_model) == ("calibrated", 0.5, True, "ladder")
    assert preset.at("a").adc_range == "fixed"
    assert device(device_file(preset)) == preset
    other = device("relaxation = 'programmed'\n" + text)
    assert other.relaxation == "programmed"
    assert device(device_file(other)) == other


def test_measured_statistics_say_themselves_what_a_device_keeps() -> None:
    with pytest.raises(ConfigError, match="relaxation: leave it out beside measured statistics"):
        device("relaxation = 'own'\n" + example_text())


def test_a_stored_device_is_read_by_the_types_of_its_fields() -> None:
    layer = '[[layers]]\npattern = "head"\ndevice = "hermes"\ntile = [64, 32]\nadc_bits = 5\n'
    text = "[conductance]\ng_max_us = 25.0\ncharacterised_us = [0.0, 25.0]\n[converters]\ndac_bits = 6\n" + layer
    preset = device(text + "[times]\nonly_s = [1.0, 60.0]\n")
    document = json.loads(json.dumps(plain(preset.document())))
    assert stored_preset(document, own=None, source="teacher") == preset
    for name, value, message in (
        ("g_max_us", "much", r"teacher: g_max_us: .*'much'"),
        ("times_s", [1.0, "later"], r"teacher: times_s.*'later'"),
        ("converters", {"dac_bits": "six"}, r"teacher: converters: .*'six'"),
        ("converters", {"magic": 1}, r"teacher: converters: magic"),
    ):
        with pytest.raises(InputError, match=message):
            stored_preset({**document, name: value}, own=None, source="teacher")
    wrong = [{**document["layers"][0], "tile": [64, "wide"]}]
    with pytest.raises(InputError, match=r"teacher: tile.*'wide'"):
        stored_preset({**document, "layers": wrong}, own=None, source="teacher")
