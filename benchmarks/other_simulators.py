"""The same model on the crossbars of other simulators, with settings as equal as they allow."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout

from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import InferenceRPUConfig
from aihwkit.simulator.parameters.enums import BoundManagementType, NoiseManagementType, WeightNoiseType
from aihwkit.simulator.parameters.io import IOParameters
from aihwkit.simulator.parameters.mapping import MappingParameter
from aihwkit.simulator.parameters.pre_post import InputRangeParameter, PrePostProcessingParameter
from torch import nn

from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset
from nestevo_hw.crossbar.layers import CrossbarLayer
from nestevo_hw.crossbar.reference import rpu_config
from nestevo_hw.crossbar.teacher import AnalogTeacher

LIGHTNING = "aihwkit_lightning"


def lightning_installed() -> bool:
    """Whether aihwkit-lightning can be imported; it is no dependency of this project."""
    return importlib.util.find_spec(LIGHTNING) is not None


def cpp_tiles(model: nn.Module, teacher: AnalogTeacher) -> nn.Module:
    """The model on aihwkit's C++ tiles, with the converters and input ranges of `teacher`."""
    rows, columns = teacher.report.tile
    converters = teacher.preset.converters
    config = InferenceRPUConfig(
        forward=_cpp_io(converters),
        mapping=MappingParameter(
            weight_scaling_omega=1.0, weight_scaling_columnwise=True, max_input_size=rows, max_output_size=columns
        ),
        pre_post=PrePostProcessingParameter(
            input_range=InputRangeParameter(enable=converters is not None, learn_input_range=False, init_from_data=0)
        ),
    )
    analog = convert_to_analog(model, config, exclude_modules=_digital(teacher), ensure_analog_root=False).eval()
    for name, full_scale in _input_ranges(teacher):
        for tile in analog.get_submodule(name).analog_tiles():
            tile.set_input_range(full_scale)
    return analog


def lightning_layers(model: nn.Module, teacher: AnalogTeacher) -> nn.Module:
    """The model in aihwkit-lightning, with the converters and input ranges of `teacher`."""
    with redirect_stdout(sys.stderr):  # it prints what it could not import
        conversion = importlib.import_module(f"{LIGHTNING}.nn.conversion")
        config = importlib.import_module(f"{LIGHTNING}.simulator.configs").TorchInferenceRPUConfig()
    converters = teacher.preset.converters
    config.mapping.max_input_size = teacher.report.tile[0]
    if converters is not None:
        config.forward.inp_res = 2.0**converters.dac_bits - 2
        config.forward.out_res = 2.0**converters.adc_bits - 2
        config.forward.out_bound = converters.output_bound
        config.pre_post.input_range.enable = True
        config.pre_post.input_range.learn_input_range = False
    analog = conversion.convert_to_analog(
        model, config, exclude_modules=_digital(teacher), ensure_analog_root=False
    ).eval()
    for name, full_scale in _input_ranges(teacher):
        ranges = analog.get_submodule(name).input_range
        if ranges is not None:
            ranges.data.fill_(full_scale)
    return analog


def own_tiles(teacher: AnalogTeacher, layers: dict[str, nn.Module]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Programming and ageing of the same layers by aihwkit's own tiles, one after the other.

    Args:
        teacher: its device and tile.
        layers: digital layers by name; they are copied.

    Returns:
        Two functions: program all tiles, and let them drift for a day.
    """
    config = rpu_config(teacher.preset, teacher.report.tile)
    tiles = [
        tile
        for layer in layers.values()
        for tile in convert_to_analog(layer, config, ensure_analog_root=False).eval().analog_tiles()
    ]

    def program() -> None:
        for tile in tiles:
            tile.program_weights()

    def age() -> None:
        for tile in tiles:
            tile.drift_weights(86_400.0)

    return program, age


def _cpp_io(converters: ConverterModel | None) -> IOParameters:
    if converters is None:
        return IOParameters(is_perfect=True)
    laws = {"constant": WeightNoiseType.ADDITIVE_CONSTANT, "pcm": WeightNoiseType.PCM_READ}
    return IOParameters(
        inp_res=converters.step(converters.dac_bits),
        out_res=converters.step(converters.adc_bits),
        out_noise=converters.output_noise,
        out_bound=converters.output_bound,
        w_noise=converters.read_noise,
        w_noise_type=laws[converters.read_noise_law] if converters.read_noise else WeightNoiseType.NONE,
        ir_drop=converters.ir_drop,
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )


def _digital(teacher: AnalogTeacher) -> list[str]:
    return [layer.name for layer in teacher.report.layers if layer.placement == "digital"]


def _input_ranges(teacher: AnalogTeacher) -> Iterator[tuple[str, float]]:
    for entry in teacher.report.analog:
        layer = teacher.module.get_submodule(entry.name)
        if isinstance(layer, CrossbarLayer) and layer.input_range is not None:
            yield entry.name, layer.input_range


def covers(preset: DevicePreset, simulator: str) -> bool:
    """Whether a simulator has all the effects of a preset at inference: "torch", "cpp" or "lightning"."""
    io = preset.converters
    if io is None or simulator == "cpp":
        return True
    within = io.read_noise > 0 or io.ir_drop > 0
    # aihwkit-lightning adds output noise in training only.
    return not within and (simulator == "torch" or io.output_noise == 0)
