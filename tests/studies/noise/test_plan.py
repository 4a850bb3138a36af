"""The table of sweeps and what a plan makes of it."""

from collections import OrderedDict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.devices import DAY_S, LayerRule, find_preset
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.tile_sizes import tile_size
from nestevo_hw.studies.noise.bench import setting_of
from nestevo_hw.studies.noise.plan import (
    AWARE,
    DIGITAL,
    GIVEN,
    UNSWEPT,
    BenchPlan,
    Trial,
    make_plan,
    parse_sweep,
)
from nestevo_hw.studies.noise.request import Request
from nestevo_hw.studies.noise.sweeps import SWEEPS, TEACHING, Hardware, Setting, age_text

NAMES = {
    "mu", "time_s", "adc_bits", "dac_bits", "output_noise", "input_noise", "read_noise", "ir_drop", "ir_ladder",
    "stuck_cells", "tile", "analog",
}  # fmt: skip
PCM = Hardware(preset=find_preset("pcm"))


def _plan(hardware: Hardware = PCM, *, everything: bool = False, students: bool = False, **named: tuple) -> BenchPlan:
    return make_plan(hardware, named, everything=everything, students=students, quick=False, repeats=None)


def _names(plan: BenchPlan) -> list[str]:
    return [sweep.name for sweep, _ in plan.sweeps]


def test_names_of_sweeps_are_a_contract() -> None:
    assert set(SWEEPS) - set(TEACHING) == NAMES


@pytest.mark.parametrize("name", sorted(SWEEPS))
def test_every_value_of_the_table_is_possible_on_pcm(name: str) -> None:
    sweep = SWEEPS[name]
    for value in (*sweep.values, *sweep.quick):
        sweep.setting(PCM, value).check()
        assert sweep.text(value)
        assert sweep.when(value)


def test_a_sweep_changes_what_it_says_and_nothing_else() -> None:
    changed = SWEEPS["adc_bits"].setting(PCM, 5.0).hardware
    assert changed is not None
    assert changed.preset.converters is not None
    assert changed.preset.converters.adc_bits == 5
    assert SWEEPS["adc_bits"].setting(PCM, 8.0).hardware == PCM  # what pcm has
    stuck = SWEEPS["stuck_cells"].setting(PCM, 0.02).hardware
    assert stuck is not None
    assert (stuck.preset.stuck_off, stuck.preset.stuck_on) == (0.01, 0.01)
    assert SWEEPS["analog"].setting(PCM, "hermes").age_s == DAY_S


def test_without_a_name_the_usual_sweeps_run() -> None:
    assert _names(_plan()) == ["mu", "time_s"]
    assert _names(_plan(students=True)) == ["mu", "time_s", *TEACHING]
    assert _names(_plan(adc_bits=(4.0,))) == ["adc_bits"]
    assert _names(_plan(everything=True)) == [name for name in SWEEPS if name not in TEACHING]


def test_what_a_device_has_no_model_for_is_left_out_of_all_and_refused_by_name() -> None:
    perfect = Hardware(preset=find_preset("pcm", perfect_io=True))
    plan = _plan(perfect, everything=True)
    assert "adc_bits" not in _names(plan)
    assert "stuck_cells" in _names(plan)
    assert any(text.startswith("adc_bits: device pcm has no converters") for text in plan.left_out)
    with pytest.raises(ConfigError, match="pcm has no converters whose read_noise"):
        _plan(perfect, everything=True, read_noise=(0.1,))


def test_times_are_those_the_device_was_characterised_at() -> None:
    wan = Hardware(preset=find_preset("reram-wan"))
    assert {s.name: v for s, v in _plan(wan).sweeps}["time_s"] == (0.0, 1.0, DAY_S, 2 * DAY_S)
    with pytest.raises(ConfigError, match="characterised only at"):
        _plan(wan, time_s=(60.0,))


def test_numbers_are_sorted_and_named_once() -> None:
    ((_, values),) = _plan(adc_bits=(8.0, 4.0, 8.0)).sweeps
    assert values == (4.0, 8.0)


def test_trials_cover_every_value_repeat_and_training_once() -> None:
    plan = make_plan(PCM, {"time_s": (0.0, 1.0), "tile": (64.0,)}, everything=False, students=False, quick=False,
                     repeats=2)  # fmt: skip
    trials = plan.trials((GIVEN, AWARE))
    assert len(set(trials)) == len(trials)
    times = [(c.repeat, c.value) for c in trials if c.sweep == "time_s" and c.training == GIVEN]
    assert times == [(0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0)]  # one programming serves all ages
    assert sum(c.sweep == DIGITAL for c in trials) == 2
    assert not any(c.sweep == "tile" and c.training == AWARE for c in trials)  # it is no noise of the weights


@given(st.sampled_from(sorted(set(SWEEPS) - {"analog"})), st.lists(st.floats(0, 1e9), min_size=1, max_size=5))
def test_sweeps_are_parsed(name: str, values: list[float]) -> None:
    assert parse_sweep(f"{name}={','.join(repr(v) for v in values)}") == (name, tuple(values))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sharpness=1", "unknown sweep 'sharpness'; choose from mu, time_s"),
        ("adc_bits=", "sweep adc_bits has no values; write for example adc_bits=4,5,6"),
        ("adc_bits=four", "sweep adc_bits: need numbers separated by commas, got 'four'"),
    ],
)
def test_mistakes_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_sweep(text)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"mu": (-1.0,)}, "sweep mu: need a number from 0 to 1, got -1"),
        ({"adc_bits": (4.5,)}, "adc_bits: need a whole number, got 4.5"),
        ({"adc_bits": (0.0,)}, "sweep adc_bits: need a number from 2 to 16, got 0"),
        ({"stuck_cells": (1.5,)}, "sweep stuck_cells: need a number from 0 to 1, got 1.5"),
        ({"analog": ("dram",)}, "unknown device 'dram'"),
        ({"tile": (0.0,)}, "tile"),
    ],
)
def test_impossible_values_are_refused(named: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _plan(**named)


def test_one_repeat_has_no_interval() -> None:
    with pytest.raises(ConfigError, match="need 2 repeats or more"):
        BenchPlan(sweeps=(), repeats=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "programmed"), (1, "1 s"), (90, "1.5 min"), (3600, "1 h"), (86_400, "1 d"), (31_536_000, "1 y")],
)
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_properties_are_swept_at_the_age_of_the_benchmark() -> None:
    hardware = Hardware(preset=find_preset("pcm"), age_s=3600.0)
    ages_s = {"adc_bits": 3600.0, "stuck_cells": 3600.0, "tile": 3600.0, "time_s": 60.0, "analog": DAY_S}
    values = {"adc_bits": 4.0, "stuck_cells": 0.1, "tile": 64.0, "time_s": 60.0, "analog": "hermes"}
    assert {name: SWEEPS[name].setting(hardware, value).age_s for name, value in values.items()} == ages_s
    as_it_is = Trial(sweep=UNSWEPT, value=UNSWEPT, repeat=0)
    assert setting_of(as_it_is, hardware) == Setting(hardware=hardware, age_s=3600.0)
    assert SWEEPS["adc_bits"].described(3600.0).endswith("as it is, 1 h after programming")
    assert SWEEPS["adc_bits"].described(0.0).endswith("as it is, right after programming")
    assert Request(model="fasterrcnn-tiny").study().setup.age_s == 1.0
    assert Request(model="fasterrcnn-tiny", age_s=0.0).study().setup.age_s == 0.0
    with pytest.raises(ConfigError, match="characterised only at"):
        SWEEPS["adc_bits"].setting(replace(hardware, preset=find_preset("reram-wan")), 4.0).check()


RULED = replace(
    find_preset("pcm"),
    layers=(
        LayerRule(pattern="head.*", adc_bits=10, dac_bits=12, tile=(64, 32)),
        LayerRule(pattern="stem", device=find_preset("hermes"), pairs=1),
        LayerRule(pattern="neck", device=find_preset("ideal"), tile=(128, 128)),
    ),
)


@pytest.mark.parametrize(
    ("sweep", "value", "field"),
    [
        ("adc_bits", 4.0, "adc_bits"), ("dac_bits", 3.0, "dac_bits"), ("output_noise", 0.5, "output_noise"),
        ("input_noise", 0.5, "input_noise"), ("read_noise", 0.5, "read_noise"), ("ir_drop", 2.0, "ir_drop"),
        ("ir_ladder", 2.0, "ir_drop"),
    ],
)  # fmt: skip
def test_a_sweep_of_converters_changes_those_of_layers_with_rules_too(sweep: str, value: float, field: str) -> None:
    hardware = SWEEPS[sweep].setting(Hardware(preset=RULED), value).hardware
    assert hardware is not None
    found = {name: hardware.preset.at(name).converters for name in ("body", "head.a", "stem", "neck")}
    assert found.pop("neck") is None  # has none to change
    assert {getattr(io, field) for io in found.values()} == {value}
    other = {"adc_bits": ("dac_bits", 12), "dac_bits": ("adc_bits", 10)}
    if sweep in other:
        name, kept = other[sweep]
        assert getattr(found["head.a"], name) == kept


def test_a_sweep_of_cells_or_tiles_changes_those_of_layers_with_rules_too() -> None:
    hardware = SWEEPS["stuck_cells"].setting(Hardware(preset=RULED), 0.02).hardware
    assert hardware is not None
    assert {device.stuck for device in hardware.preset.everywhere} == {0.02}
    assert hardware.preset.at("head.a").converters == RULED.at("head.a").converters
    hardware = SWEEPS["tile"].setting(Hardware(preset=RULED), 512.0).hardware
    assert hardware is not None
    layers = nn.Sequential(OrderedDict(head=nn.Sequential(OrderedDict(a=nn.Linear(600, 600))), neck=nn.Linear(600, 600),
                                       stem=nn.Linear(600, 4)))  # fmt: skip
    report = map_model(layers, hardware.tile, device=hardware.preset)
    assert {layer.tile for layer in report.analog} == {(512, 512)}
    assert [layer.tile for layer in map_model(layers, 256, device=RULED).analog] == [(64, 32), (128, 128), (256, 256)]


@pytest.mark.parametrize(
    ("sweep", "value"), [("adc_bits", 8.0), ("dac_bits", 8.0), ("stuck_cells", 0.0), ("tile", 256.0)]
)
def test_a_sweep_passes_through_the_device_as_it_is(sweep: str, value: float) -> None:
    """The same setting, so that it is scored once."""
    hardware = SWEEPS[sweep].setting(PCM, value).hardware
    assert hardware is not None
    assert (hardware.preset, tile_size(hardware.tile)) == (PCM.preset, tile_size(PCM.tile))
