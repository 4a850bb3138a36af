"""The table of sweeps: command line, plan, plots and pages all follow from it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import AGE_S, SHARE, Range
from nestevo_hw.crossbar.backend import Backend, choose_backend
from nestevo_hw.crossbar.devices import DAY_S, PRESETS, ConverterModel, DevicePreset, find_preset
from nestevo_hw.crossbar.tile_sizes import Tile, tile_size

Value = float | str
"""A number, or a device by its name or file."""
AT_AGE = "at the age of the benchmark"
FRESH = "right after programming"
"""Before the first read, and so without slow read noise."""
TEACHING = ("student_mu", "student_time_s")
"""Sweeps in which the noisy model teaches a student, and both are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFile:
    """A device of the user's own, as its file was when the benchmark began."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the model is programmed onto."""

    preset: DevicePreset
    tile: int | Tile = 256
    keep_digital: tuple[str, ...] = ()
    grouped: bool = False
    """Whether grouped convolutions go onto tiles."""
    backend: Backend = "auto"
    seed: int = 0
    age_s: float = 0.0
    """Time after programming at which every property but time is swept, seconds."""
    device_files: tuple[DeviceFile, ...] = ()
    """Of the devices that are swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under what a model computes: weight noise on the digital model, or a crossbar of some age."""

    mu: float | None = None
    """Weight noise of eq. 19; None = on the crossbar."""
    hardware: Hardware | None = None
    age_s: float = 0.0
    """Time after programming, seconds."""

    def check(self) -> None:
        """Refuse a setting that cannot be simulated, before any work.

        Raises:
            ConfigError: a backend or time that the device has no model for.
        """
        if self.hardware is not None:
            choose_backend(self.hardware.preset, self.hardware.backend)
            self.hardware.preset.check_time(self.age_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One property that is varied while all others stay as the device has them."""

    name: str
    """Of the machine-readable report."""
    title: str
    unit: str
    values: tuple[Value, ...]
    """Unless the user gives others."""
    quick: tuple[Value, ...]
    """The same with --quick."""
    setting: Callable[[Hardware, Value], Setting]
    """What a value means for a model on this hardware; a ConfigError if it is impossible."""
    worse: Literal["up", "down"] | None
    """Which values are expected to be worse; None where there is no order."""
    on_weights: bool
    """Whether it disturbs weights, which is what noise-aware training prepares for."""
    simulated: str
    """What is simulated, for people to read."""
    allowed: Range
    """Where values that are numbers may lie."""
    usual: bool = False
    """Part of a run that names no sweep."""

    def text(self, value: Value) -> str:
        """A value as people read it."""
        if isinstance(value, str):
            return Path(value).name
        if self.unit == _SECONDS:
            return age_text(value)
        if self.unit == _SHARE:
            return f"{100 * value:g} %"
        return f"{value:g}"

    def phrase(self, value: Value) -> str:
        """A value as part of a sentence, after "from" or "up to"."""
        text = self.text(value)
        if self.unit == "bits":
            return f"{text} bits"
        if self.name in ("mu", "student_mu"):
            return f"mu = {text}"
        if self.name == "tile":
            return f"{text} x {text}"
        return "programming" if self.unit == _SECONDS and value == 0 else text

    def when(self, value: Value) -> str:
        """At this value, as the end of a sentence."""
        if self.unit != _SECONDS:
            return f"at {self.phrase(value)}"
        return FRESH if value == 0 else f"after {self.phrase(value)}"

    def described(self, age_s: float) -> str:
        """What is simulated in a benchmark of this age."""
        return self.simulated.replace(AT_AGE, moment(age_s))


def moment(age_s: float) -> str:
    """When something of this age is, as the end of a sentence."""
    return FRESH if age_s == 0 else f"{age_text(age_s)} after programming"


def age_text(seconds: float) -> str:
    """A time after programming in the largest unit that keeps it above one."""
    if seconds == 0:
        return "programmed"
    for unit, length in (("y", 31_536_000.0), ("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _mu(_: Hardware, value: Value) -> Setting:
    return Setting(mu=_number("mu", value))


def _time(hardware: Hardware, value: Value) -> Setting:
    return Setting(hardware=hardware, age_s=_number("time_s", value))


def _tile(hardware: Hardware, value: Value) -> Setting:
    size = _whole("tile", value)
    preset = hardware.preset.with_all(lambda device: device, "tile")
    return Setting(hardware=replace(hardware, preset=preset, tile=tile_size((size, size))), age_s=hardware.age_s)


def _analog(hardware: Hardware, value: Value) -> Setting:
    own, name = hardware.preset, str(value)
    text = next((file.text for file in hardware.device_files if file.path == name), None)
    preset = find_preset(name, perfect_io=own.converters is None, text=text)
    if preset.converters is not None:
        preset = preset.with_adc_range(own.adc_range)
    return Setting(hardware=replace(hardware, preset=preset), age_s=DAY_S)


def _stuck(hardware: Hardware, value: Value) -> Setting:
    share = _number("stuck_cells", value)

    def stuck(device: DevicePreset) -> DevicePreset:
        return replace(device, stuck_off=share / 2, stuck_on=share / 2, stuck_random=0.0)

    return _with(hardware, hardware.preset.with_all(stuck))


def _converter(
    name: str, change: Callable[[ConverterModel, Value], ConverterModel], *ruled: str
) -> Callable[..., Setting]:
    """What a value means for the converters of all layers; `ruled` is what their rules may have otherwise."""

    def setting(hardware: Hardware, value: Value) -> Setting:
        preset = hardware.preset
        if preset.converters is None:
            raise ConfigError(f"device {preset.name} has no converters whose {name} could be swept")
        return _with(hardware, preset.with_converters(lambda io: change(io, value), *ruled))

    return setting


def _with(hardware: Hardware, preset: DevicePreset) -> Setting:
    return Setting(hardware=replace(hardware, preset=preset), age_s=hardware.age_s)


def _number(name: str, value: Value) -> float:
    if isinstance(value, str):
        raise ConfigError(f"{name}: need a number, got {value!r}")
    return value


def _whole(name: str, value: Value) -> int:
    number = _number(name, value)
    if number != int(number):
        raise ConfigError(f"{name}: need a whole number, got {number:g}")
    return int(number)


BITS = Range(2, 16)
_SECONDS = "s after programming"
_SHARE = "share of the devices"
_MUS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.1)
_READ_S = (1.0, 3600.0, DAY_S, 30 * DAY_S, 365 * DAY_S)
_TIMES_S = (0.0, *_READ_S)

SWEEPS: dict[str, Sweep] = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            name="mu", allowed=SHARE,
            title="weight noise mu", unit="of the layer's weight range", usual=True,
            values=_MUS, quick=(0.0, 0.02, 0.06), setting=_mu, worse="up", on_weights=True,
            simulated="Gaussian noise on every weight of the digital model, clamped to the layer's range "
            "(eq. 18-20); no device",
        ),
        Sweep(
            name="time_s", allowed=AGE_S,
            title="time after programming", unit=_SECONDS, usual=True,
            values=_TIMES_S, quick=(0.0, DAY_S), setting=_time, worse="up", on_weights=True,
            simulated="the device with its programming noise, converters, and drift up to this age",
        ),
        Sweep(
            name="adc_bits", allowed=BITS,
            title="ADC resolution", unit="bits", values=(4.0, 5.0, 6.0, 7.0, 8.0, 10.0),
            quick=(4.0, 6.0, 8.0), worse="down", on_weights=False,
            setting=_converter("adc_bits", lambda c, v: replace(c, adc_bits=_whole("adc_bits", v)), "adc_bits"),
            simulated="another ADC, the rest of the device as it is, at the age of the benchmark",
        ),
        Sweep(
            name="dac_bits", allowed=BITS,
            title="DAC resolution", unit="bits", values=(2.0, 3.0, 4.0, 5.0, 6.0, 8.0),
            quick=(3.0, 5.0, 8.0), worse="down", on_weights=False,
            setting=_converter("dac_bits", lambda c, v: replace(c, dac_bits=_whole("dac_bits", v)), "dac_bits"),
            simulated="another DAC, the rest of the device as it is, at the age of the benchmark",
        ),
        Sweep(
            name="output_noise", allowed=Range(0, 100),
            title="output noise", unit="of full-scale input x largest weight",
            values=(0.0, 0.01, 0.02, 0.04, 0.08, 0.16), quick=(0.0, 0.04, 0.08), worse="up", on_weights=False,
            setting=_converter("output_noise", lambda c, v: replace(c, output_noise=_number("output_noise", v))),
            simulated="noise added before the ADC, at the age of the benchmark",
        ),
        Sweep(
            name="input_noise", allowed=Range(0, 100),
            title="input noise", unit="of a full-scale input", values=(0.0, 0.01, 0.04),
            quick=(0.0, 0.02), worse="up", on_weights=False,
            setting=_converter("input_noise", lambda c, v: replace(c, input_noise=_number("input_noise", v))),
            simulated="noise added after the DAC, at the age of the benchmark; slow, by aihwkit's own tile",
        ),
        Sweep(
            name="read_noise", allowed=Range(0, 100),
            title="read noise", unit="of the largest weight",
            values=(0.0, 0.01, 0.0175, 0.04, 0.08), quick=(0.0, 0.0175, 0.08), worse="up", on_weights=True,
            setting=_converter("read_noise", lambda c, v: replace(c, read_noise=_number("read_noise", v))),
            simulated="noise of every cell drawn anew in every product, at the age of the benchmark",
        ),
        Sweep(
            name="ir_drop", allowed=Range(0, 1000),
            title="IR drop", unit="of the standard wire resistance", values=(0.0, 1.0, 4.0, 16.0),
            quick=(0.0, 1.0, 16.0), worse="up", on_weights=False,
            setting=_converter("ir_drop", lambda c, v: replace(c, ir_drop=_number("ir_drop", v))),
            simulated="voltage lost along the wires of a tile, at the age of the benchmark",
        ),
        Sweep(
            name="ir_ladder", allowed=Range(0, 1000),
            title="IR drop, exact", unit="of the standard wire resistance", values=(0.0, 1.0, 4.0, 16.0),
            quick=(0.0, 1.0, 16.0), worse="up", on_weights=False,
            setting=_converter(
                "ir_ladder", lambda c, v: replace(c, ir_drop=_number("ir_ladder", v), ir_drop_model="ladder")
            ),
            simulated="the same wires solved exactly as a ladder of resistors, at the age of the benchmark",
        ),
        Sweep(
            name="stuck_cells", allowed=SHARE,
            title="stuck devices", unit=_SHARE, values=(0.0, 0.001, 0.003, 0.01, 0.03),
            quick=(0.0, 0.003, 0.03), setting=_stuck, worse="up", on_weights=True,
            simulated="devices that keep their conductance, half at zero and half at the largest, at the age "
            "of the benchmark",
        ),
        Sweep(
            name="tile", allowed=Range(1, 65_536),
            title="tile size", unit="rows and columns", values=(64.0, 128.0, 256.0, 512.0),
            quick=(64.0, 256.0), setting=_tile, worse=None, on_weights=False,
            simulated="square tiles of another size, the rest of the device as it is, at the age of the benchmark",
        ),
        Sweep(
            name="analog", allowed=BITS,
            title="device after a day", unit="preset", values=tuple(PRESETS),
            quick=tuple(PRESETS), setting=_analog, worse=None, on_weights=False,
            simulated="all presets one day after programming, with the converters that each has",
        ),
        Sweep(
            name="student_mu", allowed=SHARE,
            title="teacher's weight noise mu", unit="of the layer's weight range",
            values=_MUS, quick=(0.0, 0.04, 0.1), setting=_mu, worse="up", on_weights=True,
            simulated="the digital teacher with Gaussian weight noise (eq. 18-20) labels, the student learns",
        ),
        Sweep(
            name="student_time_s", allowed=AGE_S,
            title="age of the teacher", unit=_SECONDS,
            values=_READ_S, quick=(DAY_S,), setting=_time, worse="up", on_weights=True,
            simulated="the teacher on the device labels at this age, the student learns",
        ),
    )
}  # fmt: skip
