"""A device from a TOML file: sections and keys as below, checked before anything is simulated with it."""

import json
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import torch

from nestevo_hw.base.choices import one_of
from nestevo_hw.base.documents import forbid_unknown_keys, parse_toml
from nestevo_hw.base.errors import ConfigError, NestEvoError
from nestevo_hw.base.files import read_text
from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.devices import DIGITAL, PRESETS, relaxation_of
from nestevo_hw.crossbar.devices.law import (
    Conductance,
    DriftLaw,
    ImpossibleError,
    MeasuredLaw,
    ModelLaw,
    ProgrammingLaw,
    ReadNoiseLaw,
    RetentionPoint,
    Temperature,
    TimeS,
    WindowEnd,
)
from nestevo_hw.crossbar.devices.preset import AdcRange, Bits, ConverterModel, DevicePreset, LayerRule, Relaxation

Pairs = Annotated[int, Range(1, 64)]
WeightBits = Annotated[int, Range(0, 24)]
Side = Annotated[int, Range(1, 65_536)]
MOST_RULES = 1000
_GRID = 257
"""Conductances at which a law is tried."""
MOST_NU = 10.0
"""Drift exponent that no cell exceeds; measured ones stay below 1."""
_DEVIATIONS = ("deviation_us", "deviation", "relative")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTable:
    """[conductance]: between which conductances weights lie."""

    g_max_us: WindowEnd
    g_min_us: Conductance = 0.0
    characterised_us: tuple[Conductance, Conductance] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsTable:
    """[cells]: how many hold a weight."""

    pairs: Pairs = 1
    weight_bits: WeightBits = 0
    cell_bits: WeightBits = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckTable:
    """[stuck]: shares of devices that cannot be programmed."""

    at_g_min: Annotated[float, SHARE] = 0.0
    at_g_max: Annotated[float, SHARE] = 0.0
    random: Annotated[float, SHARE] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimesTable:
    """[times]: when the device has a model, beside 0 s, which is as programmed."""

    only_s: tuple[TimeS, ...] | None = None
    earliest_s: TimeS = 0.0
    latest_s: TimeS | None = None

    def __post_init__(self) -> None:
        if self.latest_s is not None and self.latest_s < self.earliest_s:
            raise ImpossibleError(f"need earliest_s <= latest_s, got {self.earliest_s:g} and {self.latest_s:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable:
    """[[layers]]: what layers whose name matches have otherwise."""

    pattern: str
    device: Annotated[str, one_of((*PRESETS, DIGITAL))] | None = None
    tile: Side | tuple[Side, Side] | None = None
    pairs: Pairs | None = None
    weight_bits: WeightBits | None = None
    cell_bits: WeightBits | None = None
    dac_bits: Bits | None = None
    adc_bits: Bits | None = None
    output_bound: Annotated[float, Range(0, 1e9, above=True)] | None = None
    adc_range: AdcRange | None = None

    def rule(self) -> LayerRule:
        """As part of a preset."""
        tile = (self.tile, self.tile) if isinstance(self.tile, int) else self.tile
        digital = self.device == DIGITAL
        device = None if self.device is None or digital else PRESETS[self.device]
        same = ("pattern", "pairs", "weight_bits", "cell_bits", "dac_bits", "adc_bits", "output_bound", "adc_range")
        return LayerRule(tile=tile, device=device, digital=digital, **{name: getattr(self, name) for name in same})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFile:
    """A device file. The noise law is either measured (programming, drift, read_noise, retention) or a `model`."""

    conductance: WindowTable
    title: str = "own device"
    source: str = "a device file that names no source"
    leaves_out: str = "what its file does not describe"
    chip: Annotated[str, one_of(CHIPS)] = "generic"
    drift_compensation: bool = True
    reference_column: bool = False
    relaxation: Relaxation | None = None
    """Of a `model`; None: as that of the models that ship is, none for any other."""
    model: str | None = None
    model_arguments: dict[str, Any] = field(default_factory=dict)
    programming: ProgrammingLaw | None = None
    drift: DriftLaw | None = None
    read_noise: ReadNoiseLaw | None = None
    retention: tuple[RetentionPoint, ...] = ()
    temperature: Temperature | None = None
    cells: CellsTable = CellsTable()
    stuck: StuckTable = StuckTable()
    times: TimesTable = TimesTable()
    converters: ConverterModel | None = None
    """None: perfect input and output."""
    layers: tuple[LayerTable, ...] = ()

    def law(self) -> MeasuredLaw | ModelLaw | None:
        """What the cells do; None: nothing.

        Raises:
            ConfigError: both a model and measured statistics, or an impossible mixture of these.
        """
        parts = {f.name: value for f in fields(MeasuredLaw) if (value := getattr(self, f.name)) not in (None, ())}
        if self.model is None:
            if self.model_arguments:
                raise ConfigError("model_arguments: need model, the class that takes them")
            if self.relaxation is not None:
                raise ConfigError("relaxation: leave it out beside measured statistics; it says what a model draws")
            return MeasuredLaw(**parts) if parts else None
        if parts:
            raise ConfigError(f"model: give either it or {next(iter(parts))}; both say what the cells do")
        try:
            return ModelLaw(model=self.model, arguments_json=json.dumps(self.model_arguments, sort_keys=True))
        except TypeError as error:
            raise ConfigError(
                "model_arguments: need numbers, texts, truth values and lists or tables of them"
            ) from error

    def preset(self, name: str) -> DevicePreset:
        """The device that the file describes.

        Raises:
            ConfigError: parts of it do not fit together.
        """
        law = self.law()
        if len(self.layers) > MOST_RULES:
            raise ConfigError(f"layers: need at most {MOST_RULES} tables, got {len(self.layers)}")
        return DevicePreset(
            name=name, title=self.title, source=self.source, leaves_out=self.leaves_out, chip=self.chip,
            noise_law=law, idle_is_silent=_idle_is_silent(law), several_pairs=True,
            g_max_us=self.conductance.g_max_us, g_min_us=self.conductance.g_min_us,
            characterised_us=self.conductance.characterised_us,
            pairs=self.cells.pairs, weight_bits=self.cells.weight_bits, cell_bits=self.cells.cell_bits,
            stuck_off=self.stuck.at_g_min, stuck_on=self.stuck.at_g_max, stuck_random=self.stuck.random,
            relaxation=relaxation_of(law) if self.relaxation is None else self.relaxation,
            drift_compensation=self.drift_compensation, reference_column=self.reference_column,
            converters=self.converters,
            times_s=self.times.only_s, **self._limits(law), layers=tuple(table.rule() for table in self.layers),
        )  # fmt: skip

    def _limits(self, law: MeasuredLaw | ModelLaw | None) -> dict[str, Any]:
        """First and last time with a model; retention has none before its first point and after its last."""
        earliest, latest = self.times.earliest_s, self.times.latest_s
        if isinstance(law, MeasuredLaw) and law.retention:
            if self.times != TimesTable():
                raise ConfigError("times: leave it out beside retention, whose points say when there is a model")
            earliest, latest = (law.retention[i].time_s / law.acceleration for i in (0, -1))
        return {"earliest_s": earliest, "latest_s": latest}


def _idle_is_silent(law: MeasuredLaw | ModelLaw | None) -> bool:
    """Known of measured statistics, and of the models that ship."""
    if isinstance(law, MeasuredLaw):
        return law.idle_is_silent
    return any(preset.idle_is_silent for preset in PRESETS.values() if preset.noise_law == law)


forbid_unknown_keys(DeviceFile)


def load_device(path: str, text: str | None = None) -> DevicePreset:
    """The device of a TOML file; it is named after the file.

    Args:
        path: of the file.
        text: its content, where that was kept; the file itself is not read then.

    Raises:
        ConfigError: what is wrong, with the file and the key.
    """
    return _parsed(path, read_text(Path(path), error=ConfigError) if text is None else text)


@lru_cache(maxsize=32)
def _parsed(path: str, text: str) -> DevicePreset:
    document = parse_toml(text, DeviceFile, path, error=ConfigError)
    try:
        preset = document.preset(Path(path).stem)
        _check_law(preset)
        _try(preset)
    except NestEvoError as error:
        raise ConfigError(f"{path}: {error}") from error
    return preset


def _check_law(preset: DevicePreset) -> None:
    """Every curve covers the conductances in use, is finite there, and no deviation is negative."""
    from nestevo_hw.crossbar.devices.model import value_at

    if not isinstance(preset.noise_law, MeasuredLaw):
        return
    low, high = preset.g_min_us, preset.g_max_us
    grid = torch.linspace(low, high, _GRID, dtype=torch.float64)
    for place, curve in preset.noise_law.curves.items():
        least, most = curve.covers_us
        if not (least <= low and high <= most):
            raise ConfigError(f"{place}: its table covers {least:g} to {most:g} uS, the window is {low:g} to {high:g}")
        values = value_at(curve, grid)
        wrong = ~values.isfinite()
        wanted = "a finite number"
        if place.endswith(_DEVIATIONS):
            wrong |= values < 0
            wanted = "a finite number of 0 or more"
        elif place == "drift.mean":
            wrong |= (values < 0) | (values > MOST_NU)
            wanted = f"an exponent of 0 to {MOST_NU:g}"
        if bool(wrong.any()):
            where = int(wrong.nonzero()[0])
            raise ConfigError(
                f"{place}: need {wanted} from {low:g} to {high:g} uS, got {float(values[where]):g} at "
                f"{float(grid[where]):g} uS"
            )


def _try(preset: DevicePreset) -> None:
    """Program a small matrix and age it, with every device that a layer may get."""
    from nestevo_hw.crossbar.cells import cells_of
    from nestevo_hw.crossbar.gaussian import NoiseSource

    weights = torch.linspace(-1.0, 1.0, 64).view(8, 8)
    for device in dict.fromkeys(device.perfect_io() for device in preset.perfect_io().everywhere):
        if device.noise_law is None:
            continue
        seconds = (
            device.times_s[-1] if device.times_s else max(device.earliest_s, min(3600.0, device.latest_s or 3600.0))
        )
        try:
            cells = cells_of(device, weights.device, fixed_scale=device.weight_bits > 0)
            programmed, drift = cells.program(weights, NoiseSource(0))
            aged = cells.age(programmed, drift, seconds, NoiseSource(1), NoiseSource(2))
        except NestEvoError:
            raise
        except Exception as error:
            what = "the model" if isinstance(device.noise_law, ModelLaw) else "the device"
            problem = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{what} cannot program a matrix and age it by {seconds:g} s: {problem}") from error
        for state, values in (("programmed", programmed), (f"read after {seconds:g} s", aged)):
            if not bool(values.isfinite().all()):
                raise ConfigError(f"a small matrix is not finite when {state}; check the device's statistics")
