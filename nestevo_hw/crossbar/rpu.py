"""aihwkit's RPU configurations as devices, and devices as RPU configurations; what does not fit is listed."""

import inspect
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import fields
from enum import Enum
from typing import Any

from aihwkit.inference.converter.base import BaseConductanceConverter
from aihwkit.inference.noise.base import BaseNoiseModel
from aihwkit.inference.noise.reram import ReRamCMONoiseModel, ReRamWan2022NoiseModel
from aihwkit.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from aihwkit.simulator.parameters.enums import WeightNoiseType
from aihwkit.simulator.parameters.io import IOParameters

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.plugins import called, imported
from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset, ModelLaw, NoiseLaw, relaxation_of
from nestevo_hw.crossbar.devices.model import MeasuredNoiseModel
from nestevo_hw.crossbar.reference import rpu_config
from nestevo_hw.crossbar.tile_sizes import Tile

_READ_NOISE = {"constant": WeightNoiseType.ADDITIVE_CONSTANT, "pcm": WeightNoiseType.PCM_READ}
_NOT_IN_AIHWKIT = ("stuck_off", "stuck_on", "stuck_random", "weight_bits", "cell_bits", "layers", "times_s",
                   "earliest_s", "latest_s", "relaxation", "reference_column")  # fmt: skip
_IO_NOT_IN_AIHWKIT = ("adc_range", "adc_inl", "column_calibration", "ir_drop_model")


def open_rpu(name: str) -> InferenceRPUConfig:
    """An RPU configuration by `package.module:name`; a class or function is called without arguments.

    Raises:
        ConfigError: it cannot be imported or made, or is no configuration for inference.
    """
    module, _, attribute = name.partition(":")
    found = imported(module, attribute)
    config = called(found, name, {}) if callable(found) else found
    if not isinstance(config, InferenceRPUConfig):
        kind = type(config).__name__
        raise ConfigError(f"{name} is a {kind}; need an InferenceRPUConfig or TorchInferenceRPUConfig of aihwkit")
    return config


def export_rpu(preset: DevicePreset, tile: Tile) -> tuple[InferenceRPUConfig, list[str]]:
    """A device as an RPU configuration of aihwkit, for `convert_to_analog`.

    Args:
        preset: device.
        tile: rows and columns.

    Returns:
        The configuration, of the torch tile unless it needs the C++ one; and what of the device it leaves out.
    """
    io = preset.converters
    within = io is not None and (io.read_noise > 0 or io.ir_drop > 0)
    config = _exported(InferenceRPUConfig if within else TorchInferenceRPUConfig, preset, tile)
    return config, [*_unusual(preset, _NOT_IN_AIHWKIT), *([] if io is None else _unusual(io, _IO_NOT_IN_AIHWKIT))]


def import_rpu(config: InferenceRPUConfig, name: str) -> tuple[DevicePreset, list[str]]:
    """The device of an RPU configuration.

    Args:
        config: for inference.
        name: of the device.

    Returns:
        The device, and every setting that a crossbar on it would have otherwise, a line each.

    Raises:
        ConfigError: converters or conductances that no device has here.
    """
    model: BaseNoiseModel = config.noise_model
    converter: BaseConductanceConverter = model.g_converter
    factors = getattr(converter, "f_lst", [1.0])
    law = _law(model)
    preset = DevicePreset(
        name=name, title=f"{type(model).__name__} of an RPU configuration",
        source=f"an aihwkit {type(config).__name__}", leaves_out="what was listed when it was imported",
        noise_law=law, relaxation=relaxation_of(law), several_pairs=True, pairs=len(factors),
        g_max_us=float(getattr(converter, "g_max", 25.0)), g_min_us=float(getattr(converter, "g_min", 0.0)),
        drift_compensation=config.drift_compensation is not None, converters=_converters(config.forward),
        **_times(model),
    )  # fmt: skip
    tile = (config.mapping.max_input_size, config.mapping.max_output_size)
    again = _exported(type(config), preset, tile)
    return preset, [f"{place} = {there} ({here} here)" for place, there, here in _differences(config, again, "")]


def _unusual(part: DevicePreset | ConverterModel, names: Iterable[str]) -> list[str]:
    usual = {f.name: f.default for f in fields(part)}
    values = {name: getattr(part, name) for name in names}
    return [f"{name} = {value!r}" for name, value in values.items() if value != usual[name]]


def _exported(kind: type[InferenceRPUConfig], preset: DevicePreset, tile: Tile) -> InferenceRPUConfig:
    base, io = rpu_config(preset, tile), preset.converters
    if io is not None and io.read_noise > 0:
        base.forward.w_noise, base.forward.w_noise_type = io.read_noise, _READ_NOISE[io.read_noise_law]
    if io is not None:
        base.forward.ir_drop = io.ir_drop
    parts = {f.name: getattr(base, f.name) for f in fields(kind) if f.name in _EXPORTED}
    return kind(**parts)


_EXPORTED = ("forward", "noise_model", "drift_compensation", "mapping", "pre_post")


def _converters(forward: IOParameters) -> ConverterModel | None:
    if forward.is_perfect:
        return None
    laws = {kind: law for law, kind in _READ_NOISE.items()}
    known = forward.w_noise_type in laws
    return ConverterModel(
        dac_bits=_bits(forward.inp_res), adc_bits=_bits(forward.out_res), output_bound=float(forward.out_bound),
        output_noise=float(forward.out_noise), input_noise=float(forward.inp_noise), ir_drop=float(forward.ir_drop),
        read_noise=float(forward.w_noise) if known else 0.0,
        read_noise_law="constant" if laws.get(forward.w_noise_type) == "constant" else "pcm",
    )  # fmt: skip


def _bits(resolution: float) -> int:
    """Bits of a converter by aihwkit's step or number of steps, the nearest where they are no power of two less two."""
    steps = _steps(resolution)
    return max(2, min(16, round(math.log2(steps + 2.0)))) if steps else 0


def _steps(resolution: float) -> float:
    """Steps of a converter, which aihwkit takes as their number or as the share that one is; 0 = infinitely many."""
    if resolution <= 0:
        return 0.0
    return resolution if resolution > 1 else 1.0 / resolution


def _law(model: BaseNoiseModel) -> NoiseLaw:
    """The noise law of a model: its class with the arguments that differ from the usual, or our own statistics."""
    if isinstance(model, MeasuredNoiseModel):
        return model.law
    kind = type(model)
    parameters = inspect.signature(kind).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    arguments = {name: getattr(model, name, None) for name in needed if name in vars(model)}
    for name, value in arguments.items():
        if not _is_json(value):
            raise ConfigError(
                f"noise model {kind.__name__}: its argument {name} is a {type(value).__name__}, not plain data"
            )
    usual = called(kind, kind.__name__, arguments)
    for name in parameters:
        value = getattr(model, name, None)
        if name != "g_converter" and value is not None and value != getattr(usual, name, None) and _is_json(value):
            arguments[name] = value
    # aihwkit drops some arguments where they are given, and breaks without them; those it derives itself.
    again = called(kind, kind.__name__, arguments)
    arguments = {name: value for name, value in arguments.items() if getattr(again, name, None) == value}
    return ModelLaw.of(f"{kind.__module__}:{kind.__qualname__}", **arguments)


def _times(model: BaseNoiseModel) -> dict[str, Any]:
    """When the resistive memories of aihwkit have a model; the others have one at any time."""
    if isinstance(model, ReRamWan2022NoiseModel):
        return {"times_s": tuple(sorted(float(time) for time in model.coeff_dic))}
    return {"earliest_s": 1.0} if isinstance(model, ReRamCMONoiseModel) else {}


def _is_json(value: object) -> bool:
    """Whether a value is the same after it was JSON."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def _differences(there: Any, here: Any, place: str) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401 - parts of configs
    """Place and both texts of every setting that differs."""
    if type(there) is not type(here) and not (
        isinstance(there, type(here)) and isinstance(there, IOParameters | BaseConductanceConverter)
    ):
        yield place, _text(there), _text(here)
    elif isinstance(there, IOParameters) and there.is_perfect and here.is_perfect:
        return  # nothing else of it counts then
    elif isinstance(there, type):
        if there is not here:
            yield place, there.__name__, here.__name__
    elif hasattr(there, "__dict__") and not isinstance(there, Enum):
        for name, value in vars(there).items():
            yield from _differences(value, vars(here).get(name), f"{place}.{name}" if place else name)
    elif isinstance(there, float):
        mine, other = (_steps(there), _steps(here)) if place.endswith("_res") else (there, here)
        if not math.isclose(mine, other, rel_tol=1e-6):
            yield place, _text(there), _text(here)
    elif there != here:
        yield place, _text(there), _text(here)


def _text(value: object) -> str:
    if value is None or isinstance(value, str | int | float | list | dict):
        return repr(value)
    return getattr(value, "name", None) or type(value).__name__
