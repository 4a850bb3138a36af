"""Which sweeps a benchmark runs, over which values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.studies.noise.sweeps import SWEEPS, TEACHING, Hardware, Sweep, Value

GIVEN, PLAIN, AWARE = "", "plain", "noise-aware"
"""Trainings of a model: as it was given, and the pair that is compared."""
DIGITAL = "digital"
"""Name of the scores without noise."""
MOST_VALUES = 100
"""Of one sweep."""
UNSWEPT = "unswept"
"""Name of the scores on the device as it is, at the age of the benchmark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One score to find: one draw of the noise at one value of one sweep, for one training of the model."""

    sweep: str
    value: Value
    repeat: int
    training: str = GIVEN


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What is swept."""

    sweeps: tuple[tuple[Sweep, tuple[Value, ...]], ...]
    repeats: int = 5
    """Independent draws of the noise for each value; for students, also of the batches they learn from."""
    left_out: tuple[str, ...] = ()
    """Sweeps that the device has no model for, with the reason."""

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise ConfigError(f"need 2 repeats or more for an interval, got {self.repeats}")

    @property
    def teaching(self) -> bool:
        """Whether students are taught."""
        return any(sweep.name in TEACHING for sweep, _ in self.sweeps)

    @property
    def on_device(self) -> bool:
        """Whether a sweep without students uses the device."""
        return any(sweep.name != "mu" and sweep.name not in TEACHING for sweep, _ in self.sweeps)

    def trials(self, trainings: Sequence[str]) -> list[Trial]:
        """Every score without students, in an order that programs each tile as rarely as possible.

        Args:
            trainings: the first is swept over everything, the others where noise-aware training may help.
        """
        found = []
        for training in trainings:
            found.append(Trial(sweep=DIGITAL, value=DIGITAL, repeat=0, training=training))
            if self.on_device:
                found += [Trial(sweep=UNSWEPT, value=UNSWEPT, repeat=r, training=training) for r in range(self.repeats)]
            for sweep, values in self.sweeps:
                if sweep.name in TEACHING or (training != trainings[0] and not sweep.on_weights):
                    continue
                draws = [(v, r) for v in values for r in range(self.repeats)]
                if sweep.name == "time_s":  # one programming serves all ages
                    draws.sort(key=lambda draw: draw[1])
                found += [Trial(sweep=sweep.name, value=v, repeat=r, training=training) for v, r in draws]
        return found


def parse_sweep(text: str) -> tuple[str, tuple[Value, ...]]:
    """Name and values of "adc_bits=4,6,8"; no values for "adc_bits" alone, which stand for the usual ones.

    Raises:
        ConfigError: no such sweep, or values that are not numbers.
    """
    name, equals, rest = text.partition("=")
    if name not in SWEEPS:
        raise ConfigError(f"unknown sweep {name!r}; choose from {', '.join(SWEEPS)}")
    parts = [part.strip() for part in rest.split(",") if part.strip()]
    if equals and not parts:
        raise ConfigError(f"sweep {name} has no values; write for example {name}={_example(SWEEPS[name])}")
    if name == "analog":
        return name, tuple(parts)
    if len(parts) > MOST_VALUES:
        raise ConfigError(f"sweep {name}: need at most {MOST_VALUES} values, got {len(parts)}")
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        raise ConfigError(
            f"sweep {name}: need numbers separated by commas, got {rest!r}; write for example "
            f"{name}={_example(SWEEPS[name])}"
        ) from None
    return name, values


def make_plan(
    hardware: Hardware,
    named: Mapping[str, tuple[Value, ...]],
    *,
    everything: bool,
    students: bool,
    quick: bool,
    repeats: int | None,
) -> BenchPlan:
    """The plan a user asked for.

    Args:
        hardware: decides which values are possible.
        named: values by sweep; empty values stand for the usual ones. Without any, the usual sweeps.
        everything: all sweeps but the students; those the device has no model for are left out.
        students: both sweeps that teach students.
        quick: fewer values and repeats.
        repeats: draws for each value; None = 3 if quick, else 5.

    Raises:
        ConfigError: a sweep was named that the device has no model for.
    """
    wanted = set(named)
    if everything:
        wanted |= set(SWEEPS) - set(TEACHING)
    if students:
        wanted |= set(TEACHING)
    if not named and not everything:
        wanted |= {sweep.name for sweep in SWEEPS.values() if sweep.usual}
    chosen, left_out = [], []
    for sweep in SWEEPS.values():
        if sweep.name not in wanted:
            continue
        values = named.get(sweep.name) or _usual_values(sweep, hardware, quick=quick)
        try:
            for value in values:
                if not isinstance(value, str):
                    sweep.allowed.require(value, f"sweep {sweep.name}")
                sweep.setting(hardware, value).check()
        except ConfigError as error:
            if sweep.name in named or not everything:
                raise
            left_out.append(f"{sweep.name}: {error}")
            continue
        chosen.append((sweep, tuple(dict.fromkeys(values)) if sweep.name == "analog" else tuple(sorted(set(values)))))
    if not chosen:
        raise ConfigError("nothing to sweep; name a sweep, or leave --sweep out for the usual ones")
    return BenchPlan(sweeps=tuple(chosen), repeats=repeats or (3 if quick else 5), left_out=tuple(left_out))


def _usual_values(sweep: Sweep, hardware: Hardware, *, quick: bool) -> tuple[Value, ...]:
    values = sweep.quick if quick else sweep.values
    preset, known = hardware.preset, hardware.preset.times_s
    if sweep.name not in ("time_s", "student_time_s"):
        return values
    if known is None:
        first = max(device.earliest_s for device in preset.everywhere)
        last = min(math.inf if device.latest_s is None else device.latest_s for device in preset.everywhere)
        return tuple(v for v in values if v == 0.0 or (isinstance(v, float) and first <= v <= last))
    return tuple(v for v in values if v in known or v == 0.0) if quick else (0.0, *known)


def _example(sweep: Sweep) -> str:
    return ",".join(f"{v:g}" if isinstance(v, float) else v for v in sweep.values[:3])
