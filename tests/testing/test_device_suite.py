"""Every device passes the suite, and the suite catches devices that break each rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from aihwkit.inference.noise.base import BaseNoiseModel
from aihwkit.inference.noise.pcm import PCMLikeNoiseModel
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.crossbar.devices import PRESETS, DevicePreset, find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tiles import LayerTiles
from nestevo_hw.testing import devices as suite
from nestevo_hw.testing.devices import DEVICE_CHECKS, check_device

PCM = find_preset("pcm")


@pytest.mark.parametrize("check", DEVICE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", PRESETS)
def test_every_device_passes(name: str, check: Callable[[DevicePreset], None]) -> None:
    check(find_preset(name))


class Law(PCMLikeNoiseModel):
    """A noise model of one's own: PCM with twice the programming noise."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"g_max": 25.0, "prog_noise_scale": 2.0} | settings)


def own_law(preset: DevicePreset) -> BaseNoiseModel:
    return Law(g_max=preset.g_max_us)


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_law": own_law, "idle_is_silent": False},
        {"noise_law": own_law},
        {"pairs": 2},
        {"weight_bits": 8, "cell_bits": 2},
    ],
)
def test_a_device_of_ones_own_passes(changes: dict[str, Any]) -> None:
    check_device(replace(PCM, name="mine", **changes))


def test_a_noise_law_of_ones_own_is_not_in_the_file(tmp_path: Any) -> None:
    model, path = nn.Sequential(nn.Linear(4, 4)), tmp_path / "teacher.safetensors"
    teacher = AnalogTeacher(model, device=replace(PCM, name="mine", noise_law=own_law))
    teacher.program()
    teacher.save(path)
    with pytest.raises(InputError, match=r"teacher\.safetensors: the noise law of device mine does not ship"):
        AnalogTeacher.load(path, model)


class Wild(Law):
    """Programming that misses by far."""

    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        return super().apply_programming_noise_to_conductance(g_target) + 30.0 * torch.rand_like(g_target)


class Healing(Law):
    """Devices that return to their targets."""

    def apply_drift_noise_to_conductance(self, g_prog: Tensor, _: Tensor, seconds: float) -> Tensor:
        return g_prog * 0.5 if seconds < 1e4 else g_prog


class Still(Law):
    """The same programming every time."""

    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        return g_target * 0.9

    def apply_drift_noise_to_conductance(self, g_prog: Tensor, *_: object) -> Tensor:
        return g_prog * 0.9


class Forgetful(Law):
    """Noise from torch's global generator, which no seed of the crossbar reaches."""

    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        return (g_target + 0.5 * torch.randn(g_target.shape)).clamp(min=0.0)

    def apply_drift_noise_to_conductance(self, g_prog: Tensor, *_: object) -> Tensor:
        return self.apply_programming_noise_to_conductance(g_prog)


class Growing(Law):
    """Conductances beyond what the device can hold."""

    def apply_drift_noise_to_conductance(self, g_prog: Tensor, *_: object) -> Tensor:
        return g_prog * 2.0


def of(model: type[Law]) -> dict[str, Any]:
    return {"noise_law": lambda preset: model(g_max=preset.g_max_us), "idle_is_silent": False}


@pytest.mark.parametrize(
    ("check", "changes", "message"),
    [
        (suite.says_where_it_comes_from, {"source": ""}, "source is empty"),
        (suite.has_a_chip_that_models_its_costs, {"chip": "none"}, "no costs: unknown chip 'none'"),
        (suite.programs_and_ages_repeatably, of(Still), "two programmings have the same noise"),
        (suite.programs_and_ages_repeatably, of(Forgetful), "the same programming gives two states"),
        (suite.keeps_weights_near_their_targets, of(Wild), "the error right after programming"),
        (suite.keeps_weights_near_their_targets, of(Growing), "of the largest after"),
        (suite.errs_more_with_age, {**of(Healing), "drift_compensation": False}, "the error falls"),
        (suite.survives_being_stored, of(Forgetful), "computes something else"),
    ],
)
def test_broken_rules_are_caught(check: Callable[[DevicePreset], None], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(replace(PCM, **changes))


def test_stated_times_that_do_not_hold_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DevicePreset, "check_time", lambda *_: None)
    with pytest.raises(AssertionError, match="takes -1 s, which it has no model for"):
        suite.refuses_times_it_has_no_model_for(PCM)


def test_weights_that_are_off_without_noise_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LayerTiles, "effective_weight", lambda tiles: 1.01 * tiles.target)
    with pytest.raises(AssertionError, match=r"off by 0\.01 of the largest of its column, allowed is 0$"):
        suite.is_exact_without_its_imperfections(PCM)
    with pytest.raises(AssertionError, match=r"allowed is 0\.0039"):
        suite.is_exact_without_its_imperfections(replace(PCM, weight_bits=8, cell_bits=2))
