"""What every crossbar device must hold to, as checks of any `DevicePreset`.

With pytest::

    @pytest.mark.parametrize("check", DEVICE_CHECKS, ids=lambda check: check.__name__)
    def test_mine(check):
        check(MINE)

Each check programs small simulated tiles from fixed seeds; all of them together take seconds.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.devices import DAY_S, DevicePreset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tiles import LayerTiles
from nestevo_hw.testing.requirement import require

LARGEST_CONDUCTANCE = 1.5
"""Of the full scale: noise may exceed the largest conductance that is asked for, but not by half of it."""
LARGEST_ERROR = 0.5
"""Right after programming, relative to the weights' root mean square."""
GROWTH_TOLERANCE = 0.02
"""By which the error of 65 536 weights may shrink by chance: its standard error is 1 / sqrt(2 x 65 536) = 0.3 % if
errors are Gaussian, and those of cells have heavier tails."""
_SIDE = 256


def check_device(preset: DevicePreset) -> None:
    """Put a device through every check.

    Raises:
        AssertionError: it fails one.
    """
    for check in DEVICE_CHECKS:
        check(preset)


def says_where_it_comes_from(preset: DevicePreset) -> None:
    """It names its technology, its source and what it leaves out."""
    for field in ("name", "title", "source", "leaves_out"):
        require(bool(getattr(preset, field)), f"{field} is empty")


def has_a_chip_that_models_its_costs(preset: DevicePreset) -> None:
    """The chip it names ships, or is a file that can be read."""
    try:
        load_chip(preset.chip)
    except ConfigError as error:
        raise AssertionError(f"no costs: {error}") from error


def refuses_times_it_has_no_model_for(preset: DevicePreset) -> None:
    """Stated limits hold: only times that it was characterised at, and never one before programming."""
    for seconds in (0.0, *_ages(preset)):
        require(not _refuses(preset, seconds), f"it refuses {seconds:g} s, which it has a model for")
    without = [-1.0, math.nan, math.inf, *([preset.earliest_s / 2] if preset.earliest_s else [])]
    without += [1.01 * seconds for seconds in preset.times_s or ()]
    without += [] if preset.latest_s is None else [1.01 * preset.latest_s]
    for seconds in without:
        require(_refuses(preset, seconds), f"it takes {seconds:g} s, which it has no model for")


def programs_and_ages_repeatably(preset: DevicePreset) -> None:
    """The state follows from seed, generation and age, whatever was done before; another generation is other noise."""
    age_s = _ages(preset)[-1]
    first, second, other = _tiles(preset), _tiles(preset), _tiles(preset)
    for tiles, generation in ((first, 1), (second, 1), (other, 2)):
        tiles.program(generation)
        tiles.age(age_s)
    second.program(1)
    require(not torch.equal(second.weight, first.weight) or preset.noise_law is None, "age changes nothing")
    second.age(age_s)
    require(torch.equal(first.effective_weight(), second.effective_weight()), "the same programming gives two states")
    alike = torch.equal(first.effective_weight(), other.effective_weight())
    require(alike == (preset.noise_law is None), "two programmings have the same noise")


def keeps_weights_near_their_targets(preset: DevicePreset) -> None:
    """Right after programming and at any age, conductances are finite and within range."""
    tiles = _tiles(preset)
    tiles.program(0)
    error = _error(tiles)
    require(error < LARGEST_ERROR, f"the error right after programming is {error:.2f}")
    for seconds in (0.0, *_ages(preset)):
        tiles.age(seconds)
        largest = float(tiles.weight.abs().max())
        require(bool(tiles.weight.isfinite().all()), f"conductances are not finite after {seconds:g} s")
        require(largest <= LARGEST_CONDUCTANCE, f"a conductance is {largest:.2f} of the largest after {seconds:g} s")


def errs_more_with_age(preset: DevicePreset) -> None:
    """The weight error grows with the time after programming, or stays."""
    tiles = _tiles(preset)
    tiles.program(0)
    error = _error(tiles)
    for seconds in _ages(preset):
        tiles.age(seconds)
        before, error = error, _error(tiles)
        require(error >= before * (1 - GROWTH_TOLERANCE), f"the error falls to {error:.4f} after {seconds:g} s")


def is_exact_without_its_imperfections(preset: DevicePreset) -> None:
    """With noise, defects and converters switched off, weights are held to half a step of their bits."""
    perfect = replace(preset.perfect_io(), noise_law=None, stuck_off=0.0, stuck_on=0.0, stuck_random=0.0)
    tiles = _tiles(perfect)
    tiles.program(0)
    tiles.age(_ages(preset)[-1])
    step = 0.5 / ((1 << (preset.weight_bits - 1)) - 1) if preset.weight_bits else 0.0
    off = float(((tiles.effective_weight() - tiles.target).abs() / tiles.target.abs().amax(1, keepdim=True)).max())
    require(off <= step + 1e-6, f"a weight is off by {off:.2g} of the largest of its column, allowed is {step:.2g}")


def survives_being_stored(preset: DevicePreset) -> None:
    """A stored teacher computes what it computed, and ages as it would have aged."""
    model, frames, ages_s = _model(), _draw("frames", 4, 3, 8, 8), _ages(preset)
    teacher = AnalogTeacher(model, device=preset, tile=(16, 8), seed=5)
    teacher.calibrate([frames])
    teacher.program(generation=2)
    teacher.age(ages_s[0])
    with tempfile.TemporaryDirectory(prefix="nestevo-hw-") as folder:
        path = Path(folder) / "teacher.safetensors"
        teacher.save(path)
        loaded = AnalogTeacher.load(path, model, device=preset)
    require(loaded.preset == preset, "it comes back as another device")
    for seconds in (ages_s[0], ages_s[-1]):
        for one in (teacher, loaded):
            one.age(seconds)
        with torch.no_grad():
            same = torch.equal(teacher.module(frames), loaded.module(frames))
        require(same, f"after {seconds:g} s the stored teacher computes something else")


DEVICE_CHECKS: tuple[Callable[[DevicePreset], None], ...] = (
    says_where_it_comes_from,
    has_a_chip_that_models_its_costs,
    refuses_times_it_has_no_model_for,
    programs_and_ages_repeatably,
    keeps_weights_near_their_targets,
    errs_more_with_age,
    is_exact_without_its_imperfections,
    survives_being_stored,
)
"""Every check; each raises an AssertionError that says what is wrong with the device."""


def _error(tiles: LayerTiles) -> float:
    error = tiles.weight_error()
    assert error is not None
    return error


def _ages(preset: DevicePreset) -> tuple[float, ...]:
    """Times after programming, ascending, that the device states a model for."""
    if preset.times_s is not None:
        return preset.times_s
    first, last = max(preset.earliest_s, 60.0), math.inf if preset.latest_s is None else preset.latest_s
    return tuple(sorted({min(max(t, first), last) for t in (60.0, 3600.0, DAY_S, 30 * DAY_S, 365 * DAY_S)}))


def _refuses(preset: DevicePreset, seconds: float) -> bool:
    try:
        preset.check_time(seconds)
    except ConfigError:
        return True
    return False


def _draw(name: str, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch_generator(0, name))


def _tiles(preset: DevicePreset) -> LayerTiles:
    """One square tile of Gaussian weights."""
    layer = nn.Linear(_SIDE, _SIDE, bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(_draw("weights", _SIDE, _SIDE))
    return LayerTiles("layer", layer, preset.perfect_io(), (_SIDE, _SIDE * preset.digits), seed=3)


def _model() -> nn.Module:
    with seeded(0, "model"):
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).eval()
