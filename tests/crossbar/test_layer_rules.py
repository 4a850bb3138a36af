"""Rules for single layers: the first that fits holds, one that fits none is refused, and a teacher follows them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.crossbar.backend import choose_backend
from nestevo_hw.crossbar.devices import PRESETS, ConverterModel, DevicePreset, LayerRule
from nestevo_hw.crossbar.devices.file import load_device
from nestevo_hw.crossbar.devices.writing import example_text
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.teacher import AnalogTeacher

PCM = PRESETS["pcm"]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10)).eval()


def ruled(*rules: LayerRule) -> DevicePreset:
    return replace(PCM, layers=rules)


def test_the_first_rule_that_fits_holds() -> None:
    preset = ruled(LayerRule(pattern="2", tile=(16, 8), adc_bits=6), LayerRule(pattern="[24]", output_bound=5.0))
    report = map_model(model(), 32, device=preset)
    by_name = {layer.name: layer for layer in report.analog}
    assert {name: layer.tile for name, layer in by_name.items()} == {"0": (32, 32), "2": (16, 8), "4": (32, 32)}
    assert [layer.tiles for layer in report.analog] == [4, 12, 1]
    cells = 4 * 32 * 32 + 12 * 16 * 8 + 32 * 32
    assert report.totals.utilisation == pytest.approx((64 * 48 + 48 * 32 + 32 * 10) / cells)
    hardware = {name: layer.document()["hardware"]["converters"] for name, layer in by_name.items()}
    assert {name: (io["adc_bits"], io["output_bound"]) for name, io in hardware.items()} == {
        "0": (8, 10.0), "2": (6, 10.0), "4": (8, 5.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([LayerRule(pattern="conv*")], r"device pcm: layers: pattern 'conv\*' matches no layer with weights, such as"),
        (
            [LayerRule(pattern="*"), LayerRule(pattern="2")],
            "pattern '2' matches only layers that earlier patterns take",
        ),
        ([LayerRule(pattern="2"), LayerRule(pattern="2")], "matches only layers that earlier"),
    ],
)
def test_rules_without_a_layer_are_refused(rules: list[LayerRule], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AnalogTeacher(model(), device=ruled(*rules))


def test_a_teacher_follows_them_and_survives_being_stored(tmp_path: Path) -> None:
    preset = ruled(
        LayerRule(pattern="0", digital=True),
        LayerRule(pattern="2", device=PRESETS["ideal"]),
        LayerRule(pattern="4", device=PRESETS["hermes"], adc_bits=5, tile=(8, 8)),
    )
    teacher, frames = AnalogTeacher(model(), device=preset, tile=64), torch.randn(8, 64)
    teacher.calibrate([frames])
    teacher.program()
    assert [layer.name for layer in teacher.report.analog] == ["2", "4"]
    errors = teacher.weight_errors()
    assert errors["2"] < 1e-6
    assert errors["4"] > 0.05
    assert isinstance(teacher.module.get_submodule("2"), nn.Linear)  # perfect converters
    assert isinstance(teacher.module.get_submodule("4"), FusedLayer)
    assert teacher.backend == "fused"
    teacher.age(3600.0)
    teacher.save(tmp_path / "t.safetensors")
    loaded = AnalogTeacher.load(tmp_path / "t.safetensors", model())
    assert loaded.preset == preset
    loaded.age(3600.0)
    teacher.age(3600.0)
    with torch.no_grad():
        assert torch.equal(loaded.module(frames), teacher.module(frames))


def test_limits_of_a_layers_device_are_those_of_the_teacher() -> None:
    with pytest.raises(ConfigError, match="reram-wan is characterised only at"):
        ruled(LayerRule(pattern="0", device=PRESETS["reram-wan"])).check_time(60.0)
    noisy = replace(PCM, converters=ConverterModel(input_noise=0.01))
    mixed = replace(PCM, layers=(LayerRule(pattern="0", device=noisy),))
    assert choose_backend(mixed, "auto")[0] == "reference"
    within = replace(mixed, converters=ConverterModel(ir_drop=1.0))
    with pytest.raises(
        ConfigError, match="backend reference has no read noise, IR drop, ADC non-linearity or calibrated columns"
    ):
        choose_backend(within, "auto")
    with pytest.raises(ConfigError, match="backend fold ignores converters"):
        choose_backend(replace(PRESETS["ideal"], layers=(LayerRule(pattern="0", device=PCM),)), "fold")


def test_perfect_converters_stay_perfect_in_every_layer() -> None:
    preset = ruled(LayerRule(pattern="0", device=PRESETS["hermes"], adc_bits=4)).perfect_io()
    assert preset.at("0").converters is None
    assert choose_backend(preset, "auto")[0] == "fold"


def test_measured_statistics_are_stored_and_a_model_by_name_is_not(tmp_path: Path) -> None:
    for text, stored in ((example_text(), True), ("model = 'aihwkit.inference:PCMLikeNoiseModel'\n"
                         "[conductance]\ng_max_us = 20.0\n[model_arguments]\nt_0 = 5.0", False)):  # fmt: skip
        preset, path = load_device("mine.toml", text), tmp_path / "t.safetensors"
        teacher = AnalogTeacher(model(), device=preset)
        teacher.program()
        teacher.save(path)
        assert AnalogTeacher.load(path, model(), device=preset).preset == preset
        if stored:
            assert AnalogTeacher.load(path, model()).preset == preset
        else:
            with pytest.raises(InputError, match="the noise law of device mine does not ship"):
                AnalogTeacher.load(path, model())
