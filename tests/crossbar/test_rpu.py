"""RPU configurations of aihwkit as devices and back: what fits returns unchanged, what does not is listed."""

from dataclasses import replace
from typing import Any

import pytest
from aihwkit.inference import CustomDriftPCMLikeNoiseModel, GlobalDriftCompensation, PCMLikeNoiseModel
from aihwkit.inference.converter.conductance import DualPairConductanceConverter, SinglePairConductanceConverter
from aihwkit.simulator.configs import InferenceRPUConfig, SingleRPUConfig, TorchInferenceRPUConfig
from aihwkit.simulator.parameters.enums import WeightNoiseType

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.cells import noise_model
from nestevo_hw.crossbar.devices import PRESETS, ConverterModel, DevicePreset, LayerRule
from nestevo_hw.crossbar.devices.file import load_device
from nestevo_hw.crossbar.devices.writing import device_file, example_text
from nestevo_hw.crossbar.rpu import export_rpu, import_rpu, open_rpu

PCM = PRESETS["pcm"]
WRITTEN = load_device("written.toml", example_text())
KEPT = ("noise_law", "g_max_us", "g_min_us", "pairs", "drift_compensation", "converters", "times_s", "earliest_s")
"""Fields that an RPU configuration has too."""


def kept(preset: DevicePreset) -> dict[str, Any]:
    return {name: getattr(preset, name) for name in KEPT}


@pytest.mark.parametrize(
    "preset",
    [
        PCM,
        replace(PCM, pairs=2, g_min_us=2.0, g_max_us=20.0),
        replace(PCM, converters=None),
        replace(PCM, converters=ConverterModel(dac_bits=0, adc_bits=6, output_bound=7.0, input_noise=0.01)),
        replace(PCM, converters=ConverterModel(read_noise=0.02, ir_drop=1.0)),
        replace(PCM, converters=ConverterModel(read_noise=0.02, read_noise_law="constant")),
        *(preset for preset in PRESETS.values() if preset.noise_law is not None and preset.name != "pcm"),
        WRITTEN,
    ],
    ids=lambda preset: f"{preset.name}-{preset.pairs}",
)
def test_a_device_comes_back_from_its_rpu_configuration(preset: DevicePreset) -> None:
    preset = preset.with_adc_range(preset.adc_range and "fixed")  # an RPU configuration has no other
    config, _ = export_rpu(preset, (128, 64))
    found, left_out = import_rpu(config, "again")
    assert left_out == []
    assert kept(replace(found, noise_law=preset.noise_law)) == kept(preset)
    assert noise_model(found) == noise_model(preset)  # of one class, with the same parameters
    assert (config.mapping.max_input_size, config.mapping.max_output_size) == (128, 64)
    assert load_device("again.toml", device_file(found)).noise_law == found.noise_law


def test_what_aihwkit_has_not_is_listed() -> None:
    preset = replace(PCM, stuck_on=0.1, weight_bits=8, cell_bits=2, layers=(LayerRule(pattern="fc"),))
    _, left_out = export_rpu(preset, (64, 64))
    assert [line.split(" = ")[0] for line in left_out] == [
        "stuck_on", "weight_bits", "cell_bits", "layers", "adc_range",
    ]  # fmt: skip


def test_what_a_device_has_not_is_listed() -> None:
    config = InferenceRPUConfig(
        noise_model=PCMLikeNoiseModel(g_converter=DualPairConductanceConverter([1.0, 3.0], g_max=20.0), t_0=50.0),
        drift_compensation=GlobalDriftCompensation(),
    )
    config.forward.inp_res, config.forward.out_res = 1.0 / (2**7 - 2), 100.0
    config.forward.out_nonlinearity = 0.5
    config.forward.w_noise, config.forward.w_noise_type = 0.03, WeightNoiseType.ADDITIVE_CONSTANT
    config.modifier.std_dev = 0.7
    found, left_out = import_rpu(config, "mine")
    assert found.converters is not None
    assert (found.converters.dac_bits, found.converters.adc_bits, found.converters.read_noise) == (7, 7, 0.03)
    assert (found.pairs, found.g_max_us) == (2, 20.0)
    assert noise_model(found).t_0 == 50.0
    listed = dict(line.split(" = ") for line in left_out)
    assert listed["noise_model.g_converter.f_lst"] == "[1.0, 3.0] ([1.0, 1.0] here)"
    assert {"forward.out_res", "forward.out_nonlinearity", "modifier.std_dev", "forward.noise_management"} <= set(
        listed
    )
    assert not {"forward.inp_res", "forward.w_noise", "noise_model.t_0", "forward.out_bound"} & set(listed)


def test_a_model_with_needed_arguments_comes_over() -> None:
    drift = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.1, 0.05], "nu_std_lst": [0.02, 0.01]}
    model = CustomDriftPCMLikeNoiseModel(drift, g_converter=SinglePairConductanceConverter(g_max=25.0))
    found, _ = import_rpu(TorchInferenceRPUConfig(noise_model=model), "mine")
    assert noise_model(load_device("mine.toml", device_file(found))).custom_drift_model == drift


CONFIG = TorchInferenceRPUConfig()
TRAINING = SingleRPUConfig()


def test_configurations_by_name() -> None:
    assert isinstance(open_rpu("aihwkit.simulator.configs:TorchInferenceRPUConfig"), TorchInferenceRPUConfig)
    assert open_rpu(f"{__name__}:CONFIG") == CONFIG
    for name, message in (
        (f"{__name__}:TRAINING", "is a SingleRPUConfig; need an InferenceRPUConfig"),
        ("nowhere:x", "cannot import 'x' from module 'nowhere'"),
        ("aihwkit.simulator.configs:none", "cannot import 'none'"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_rpu(name)
