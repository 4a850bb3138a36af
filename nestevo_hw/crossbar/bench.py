"""Noise robustness: accuracy against weight noise, time after programming and converter quality (paper Fig. 15)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from nestevo_hw.crossbar.devices import DAY_S, DevicePreset
from nestevo_hw.crossbar.mapping import Tile
from nestevo_hw.crossbar.noise import weight_noise
from nestevo_hw.crossbar.points import SweepPoint
from nestevo_hw.crossbar.teacher import AnalogTeacher, Backend, choose_backend
from nestevo_hw.errors import ConfigError
from nestevo_hw.seeding import torch_generator

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Score of a model by variant, such as day and night; 0 to 1 each."""
Progress = Callable[[], None]
ConverterField = Literal["dac_bits", "adc_bits", "output_noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the model is programmed onto."""

    preset: DevicePreset
    tile: int | Tile = 256
    keep_digital: tuple[str, ...] = ()
    backend: Backend = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What to sweep; an empty tuple leaves a sweep out."""

    mus: tuple[float, ...] = (0.0, 0.01, 0.02, 0.04, 0.06, 0.1)
    """Weight noise of eq. 19."""
    times_s: tuple[float, ...] = (0.0, 3600.0, DAY_S, 30 * DAY_S, 365 * DAY_S)
    """Seconds after programming."""
    adc_bits: tuple[float, ...] = ()
    dac_bits: tuple[float, ...] = ()
    output_noise: tuple[float, ...] = ()
    repeats: int = 5
    """Independent draws of the noise for each value."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise ConfigError(f"need 2 repeats or more for an interval, got {self.repeats}")
        if any(mu < 0 for mu in self.mus):
            raise ConfigError(f"need mu of 0 or more, got {min(self.mus)}")
        if any(bits != int(bits) for bits in (*self.adc_bits, *self.dac_bits)):
            raise ConfigError("converters have a whole number of bits")

    @property
    def evaluations(self) -> int:
        """How often the model is scored."""
        sweeps = (self.mus, self.times_s, self.adc_bits, self.dac_bits, self.output_noise)
        return self.repeats * sum(len(values) for values in sweeps)


def run_benchmark(
    model: nn.Module,
    evaluate: Evaluate,
    calibration: Sequence[Any],
    plan: BenchPlan,
    hardware: Hardware,
    *,
    on_score: Progress | None = None,
) -> list[SweepPoint]:
    """All sweeps of a plan.

    Args:
        model: digital, in eval mode; unchanged afterwards.
        evaluate: scores a model, by variant.
        calibration: batches that set the input ranges.
        plan: what to sweep.
        hardware: device, tile, backend.
        on_score: called after each evaluation, `plan.evaluations` times in all.

    Raises:
        ConfigError: the device has no model for one of the times, or no converters to sweep.
    """
    choose_backend(hardware.preset, hardware.backend)
    for seconds in plan.times_s:
        hardware.preset.check_time(seconds)
    converters: tuple[tuple[ConverterField, tuple[float, ...]], ...] = (
        ("adc_bits", plan.adc_bits), ("dac_bits", plan.dac_bits), ("output_noise", plan.output_noise)
    )  # fmt: skip
    for sweep, values in converters:
        for value in values:
            _with_converter(hardware.preset, sweep, value)
    points = sweep_weight_noise(model, evaluate, plan.mus, repeats=plan.repeats, seed=plan.seed, on_score=on_score)
    if plan.times_s:
        points += sweep_time(
            model, evaluate, plan.times_s, hardware, calibration, repeats=plan.repeats, on_score=on_score
        )
    for sweep, values in converters:
        points += sweep_converters(
            model, evaluate, sweep, values, hardware, calibration, repeats=plan.repeats, on_score=on_score
        )
    return points


def sweep_weight_noise(
    model: nn.Module,
    evaluate: Evaluate,
    mus: Sequence[float],
    *,
    repeats: int,
    seed: int,
    on_score: Progress | None = None,
) -> list[SweepPoint]:
    """Score the digital model under the Gaussian weight noise of eq. 18-20.

    Args:
        model: digital, in eval mode; unchanged afterwards.
        evaluate: scores a model.
        mus: noise in units of each layer's weight range.
        repeats: independent draws for each value.
        seed: of the draws.
        on_score: called after each evaluation.
    """
    points: list[SweepPoint] = []
    for mu in mus:
        scores = []
        for repeat in range(repeats):
            with weight_noise(model, mu, torch_generator(seed, "mu", repr(mu), repeat)):
                scores.append(evaluate(model))
            _tick(on_score)
        points += _points("mu", mu, scores)
    return points


def sweep_time(
    model: nn.Module,
    evaluate: Evaluate,
    times_s: Sequence[float],
    hardware: Hardware,
    calibration: Iterable[Any],
    *,
    repeats: int,
    on_score: Progress | None = None,
) -> list[SweepPoint]:
    """Score the model on the crossbar at times after programming, each repeat programmed anew.

    Args:
        model: digital.
        evaluate: scores a model.
        times_s: seconds after programming; 0 is right after it.
        hardware: device, tile, backend.
        calibration: batches that set the input ranges.
        repeats: independent programmings.
        on_score: called after each evaluation.

    Raises:
        ConfigError: the device has no model for one of the times.
    """
    for seconds in times_s:
        hardware.preset.check_time(seconds)
    teacher = _teacher(model, hardware, calibration)
    scores: dict[float, list[Mapping[str, float]]] = {seconds: [] for seconds in times_s}
    for repeat in range(repeats):
        teacher.program(generation=repeat)
        for seconds in times_s:
            teacher.age(seconds)
            scores[seconds].append(evaluate(teacher.module))
            _tick(on_score)
    return [point for seconds in times_s for point in _points("time_s", seconds, scores[seconds])]


def sweep_converters(
    model: nn.Module,
    evaluate: Evaluate,
    sweep: ConverterField,
    values: Sequence[float],
    hardware: Hardware,
    calibration: Sequence[Any],
    *,
    repeats: int,
    on_score: Progress | None = None,
) -> list[SweepPoint]:
    """Score the model on crossbars that differ in one property of their converters, right after programming.

    Raises:
        ConfigError: the preset has perfect input and output.
    """
    points: list[SweepPoint] = []
    for value in values:
        changed = _with_converter(hardware.preset, sweep, value)
        teacher = _teacher(model, replace(hardware, preset=changed), calibration)
        scores = []
        for repeat in range(repeats):
            teacher.program(generation=repeat)
            scores.append(evaluate(teacher.module))
            _tick(on_score)
        points += _points(sweep, value, scores)
    return points


def _with_converter(preset: DevicePreset, sweep: ConverterField, value: float) -> DevicePreset:
    if preset.converters is None:
        raise ConfigError(f"device {preset.name} has no converters whose {sweep} could be swept")
    match sweep:
        case "dac_bits":
            converters = replace(preset.converters, dac_bits=int(value))
        case "adc_bits":
            converters = replace(preset.converters, adc_bits=int(value))
        case "output_noise":
            converters = replace(preset.converters, output_noise=value)
    return replace(preset, converters=converters)


def _teacher(model: nn.Module, hardware: Hardware, calibration: Iterable[Any]) -> AnalogTeacher:
    teacher = AnalogTeacher(
        model, device=hardware.preset, tile=hardware.tile, seed=hardware.seed,
        keep_digital=hardware.keep_digital, backend=hardware.backend,
    )  # fmt: skip
    teacher.calibrate(calibration)
    return teacher


def _points(sweep: str, value: float, scores: Sequence[Mapping[str, float]]) -> list[SweepPoint]:
    return [
        SweepPoint(sweep=sweep, value=value, variant=variant, scores=tuple(s[variant] for s in scores))
        for variant in scores[0]
    ]


def _tick(on_score: Progress | None) -> None:
    if on_score is not None:
        on_score()
