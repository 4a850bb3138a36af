"""Ages of a cell lie on one trajectory, and each age alone has the distribution of aihwkit's model."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor, nn

from nestevo_hw.crossbar.cells import noise_model
from nestevo_hw.crossbar.devices import DAY_S, LayerRule, find_preset
from nestevo_hw.crossbar.tiles import LayerTiles

LEVELS = (0.1, 0.3, 0.6)


def _weights() -> Tensor:
    """(3, 8000): a row of each level, and both ends of the range."""
    weights = torch.tensor(LEVELS)[:, None].repeat(1, 8000)
    weights[:, 0], weights[:, 1] = 1.0, -1.0
    return weights


def _aged(device: str, ages_s: tuple[float, ...]) -> list[Tensor]:
    """Conductances at each age, without the ends, each visited from the programming."""
    layer = nn.Linear(8000, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(_weights())
    tiles = LayerTiles("layer", layer, find_preset(device, perfect_io=True), (8000, 3), seed=1)
    tiles.program(0)
    states = []
    for seconds in ages_s:
        tiles.age(seconds)
        states.append(tiles.weight[:, 2:].clone())
    return states


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one - one.mean(), other - other.mean()]))[0, 1])


# CMO: the relaxation of a device, of spread 0.0420 ln t + 0.4118 microsiemens, is shared and the read noise is not.
@pytest.mark.parametrize(
    ("device", "ages_s", "least"),
    [
        ("pcm", (3600.0, DAY_S, 365 * DAY_S), 0.4),
        ("reram-cmo", (60.0, 3600.0, DAY_S, 365 * DAY_S), 0.85),
        ("reram-wan", (0.0, 1.0, DAY_S, 2 * DAY_S), 0.98),  # a conductance does not fall below zero
    ],
)
def test_ages_of_a_cell_are_correlated(device: str, ages_s: tuple[float, ...], least: float) -> None:
    for one, other in itertools.combinations(_aged(device, ages_s), 2):
        for level in range(len(LEVELS)):
            assert _correlation(one[level], other[level]) > least


def test_the_correlation_of_reram_is_that_of_its_two_variances() -> None:
    one, other = _aged("reram-cmo", (3600.0, DAY_S))
    level, g = 1, 48.6 + 0.3 * 39.6  # microsiemens, before relaxation
    shared, read = [], []
    for seconds in (3600.0, DAY_S):
        shared.append(0.04201137 * math.log(seconds) + 0.41183342)
        reading = math.sqrt(math.log((seconds + 1e-6) / 2e-6))
        read.append(0.0277316483 * math.log10(g) * reading)
    total = [math.hypot(s, r) for s, r in zip(shared, read, strict=True)]
    expected = shared[0] * shared[1] / (total[0] * total[1])
    n = one[level].numel()
    # 5 standard errors; relaxation moves g, and with it the read noise, by less than a per cent.
    assert _correlation(one[level], other[level]) == pytest.approx(expected, abs=5 * (1 - expected**2) / n**0.5 + 0.005)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
@pytest.mark.parametrize(
    ("device", "seconds"),
    [("reram-cmo", 3600.0), ("reram-cmo", DAY_S), ("reram-wan", 1.0), ("reram-wan", 2 * DAY_S)],
)
def test_each_age_alone_has_the_distribution_of_aihwkit(device: str, seconds: float) -> None:
    (ours,) = _aged(device, (seconds,))
    model, weights = noise_model(find_preset(device)), _weights()
    torch.manual_seed(3)
    programmed, drift = model.apply_programming_noise(weights)
    theirs = model.apply_drift_noise(programmed, drift, seconds)[:, 2:]
    if device == "reram-wan":  # aihwkit scales by the largest programmed weight, which is chance
        theirs = theirs / programmed.abs().max() * ours.mean() / (theirs / programmed.abs().max()).mean()
    for level in range(len(LEVELS)):
        assert ks_2samp(ours[level].numpy(), theirs[level].numpy()).pvalue > 1e-4


def test_another_programming_is_another_trajectory() -> None:
    layer = nn.Linear(100, 100, bias=False)
    tiles = LayerTiles("layer", layer, find_preset("reram-cmo", perfect_io=True), (256, 256), seed=1)
    states = []
    for generation in (0, 1):
        tiles.program(generation)
        tiles.age(DAY_S)
        states.append((tiles.weight - tiles.programmed).flatten())
    assert abs(_correlation(*states)) < 5 / 100


def test_a_reference_column_subtracts_what_all_cells_share() -> None:
    """Relaxation of all cells is -0.08900206 ln t microsiemens on average; its spread stays (Falcone et al.)."""
    preset = find_preset("reram-cmo", perfect_io=True)
    layer = nn.Linear(300, 300, bias=False)
    with torch.no_grad():
        layer.weight.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(0))
    found = {}
    for reference in (False, True):
        tiles = LayerTiles("layer", layer, replace(preset, reference_column=reference), (300, 300), seed=1)
        tiles.program(0)
        tiles.age(DAY_S)
        found[reference] = tiles.weight - tiles.programmed
    plain, corrected = found[False], found[True]
    shift = -0.08900206 * math.log(DAY_S) / 39.6  # 39.6 microsiemens for the largest weight
    subtracted = (plain - corrected).flatten()
    assert float(subtracted.max() - subtracted.min()) < 1e-6  # one number a tile
    spread = math.hypot(0.04201137 * math.log(DAY_S) + 0.41183342, 0.2)  # relaxation and about as much read noise
    # 300 cells of the column, and what the ends of the range cut from the tile's own cells.
    assert float(subtracted[0]) == pytest.approx(shift, abs=5 * spread / 39.6 / 300**0.5)
    assert abs(float(corrected.mean())) < 0.15 * abs(shift)
    assert float(corrected.std()) == pytest.approx(float(plain.std()), rel=1e-3)


def test_first_read_of_a_device() -> None:
    """A second after programming, unless the device has a model elsewhere only; at 0 s nothing has been read."""
    pcm = find_preset("pcm")
    late = replace(pcm, earliest_s=60.0)
    brief = replace(pcm, latest_s=0.5)
    given = [find_preset(name) for name in ("pcm", "hermes", "reram-cmo", "reram-wan", "ideal")]
    assert [device.first_read_s for device in (*given, late, brief)] == [1.0, 1.0, 1.0, 1.0, 0.0, 60.0, 0.5]
    with_late_layers = replace(pcm, layers=(LayerRule(pattern="fc", device=late),))
    assert with_late_layers.first_read_s == 60.0
    assert replace(find_preset("ideal"), layers=(LayerRule(pattern="fc", device=pcm),)).first_read_s == 1.0
    for device in (*given, late, brief, with_late_layers):
        device.check_time(device.first_read_s)
