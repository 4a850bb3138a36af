"""What cells do to a conductance, as plain data: what a device file says and a stored teacher holds.

Nothing here computes on tensors: `crossbar.devices.model` makes aihwkit noise models of it, so that the names of
devices stay light. Conductances are in microsiemens, times in seconds after programming.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import AGE_S, Range

if TYPE_CHECKING:
    from aihwkit.inference.noise.base import BaseNoiseModel
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

    from nestevo_hw.crossbar.devices.preset import DevicePreset

MOST_POINTS = 10_000
CONDUCTANCE_US = Range(0, 1e6)
"""Up to a siemens, far above any memory cell."""
KELVIN_AT_0_C = 273.15
BOLTZMANN_EV_PER_K = 8.617333262e-5
Figure = Annotated[float, Range(-1e9, 1e9)]
Conductance = Annotated[float, CONDUCTANCE_US]
WindowEnd = Annotated[float, Range(0, 1e6, above=True)]
TimeS = Annotated[float, AGE_S]
CelsiusDegrees = Annotated[float, Range(-KELVIN_AT_0_C, 2000, above=True)]


class ImpossibleError(ConfigError, ValueError):
    """Parts of a law that do not fit together; as a ValueError, so that pydantic names its place in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A quantity as a function of conductance g; exactly one form is given.

    With x = g / `reference_us`, constant; polynomial: sum_i c_i x^i; logarithm: a + b ln x; power: a x^b; or a table
    of `values` at `target_us`, interpolated linearly and constant beyond its ends. `reference_us` is the largest
    conductance of the fit, or 1 where its coefficients are for microsiemens. `least` and `most` limit the value.

    Raises:
        ImpossibleError: none or several forms, a missing or idle reference, or points that are no table.
    """

    constant: Figure | None = None
    polynomial: tuple[Figure, ...] | None = None
    logarithm: tuple[Figure, Figure] | None = None
    power: tuple[Figure, Figure] | None = None
    target_us: tuple[Conductance, ...] | None = None
    values: tuple[Figure, ...] | None = None
    reference_us: WindowEnd | None = None
    least: Figure | None = None
    most: Figure | None = None

    def __post_init__(self) -> None:
        forms = ("constant", "polynomial", "logarithm", "power", "target_us")
        given = [name for name in forms if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ImpossibleError(f"need one of constant, polynomial, logarithm, power or target_us, got {got}")
        fitted = given[0] in ("polynomial", "logarithm", "power")
        if fitted != (self.reference_us is not None):
            raise ImpossibleError(
                f"need reference_us beside {given[0]}: the conductance at which x is 1 (1 for coefficients by uS)"
                if fitted
                else f"reference_us has no meaning beside {given[0]}; leave it out"
            )
        if (self.values is not None) != (given[0] == "target_us"):
            raise ImpossibleError("need target_us and values together, one value for every conductance")
        if self.polynomial is not None and not 1 <= len(self.polynomial) <= 20:
            raise ImpossibleError(f"need a polynomial of 1 to 20 coefficients, got {len(self.polynomial)}")
        if self.target_us is not None and self.values is not None:
            _check_table(self.target_us, self.values)
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ImpossibleError(f"need least of at most most = {self.most:g}, got {self.least:g}")

    @property
    def covers_us(self) -> tuple[float, float]:
        """Conductances for which it was given: the ends of a table, else any."""
        return (0.0, math.inf) if self.target_us is None else (self.target_us[0], self.target_us[-1])


class _NumberIsConstant:
    """Second part of the annotation of a curve: in a file, a number alone is a constant."""

    def __get_pydantic_core_schema__(self, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":  # noqa: ANN401 - any type
        """What pydantic reads a curve with."""
        from pydantic_core import core_schema

        def constant(value: object) -> object:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return {"constant": value} if number else value

        return core_schema.no_info_before_validator_function(constant, handler(source))


CurveOrNumber = Annotated[Curve, _NumberIsConstant()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammingLaw:
    """Conductance right after programming: Gaussian around a mean, cut at zero."""

    deviation_us: CurveOrNumber
    """Standard deviation by target."""
    mean_us: CurveOrNumber | None = None
    """Mean by target; None: the target itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLaw:
    """Power law g(t) = g (1 + t / t0)^-nu; nu is each device's own, |Gaussian| by its target."""

    t0_s: Annotated[float, Range(0, 1e10, above=True)]
    mean: CurveOrNumber
    """Of nu."""
    deviation: CurveOrNumber
    """Of nu, from device to device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadNoiseLaw:
    """Slow 1/f noise of one reading (Joshi et al., Nat. Commun. 2020): deviation times sqrt(ln((t + tr) / 2 tr)).

    t counts from the start of drift, t0 before programming ended, as in aihwkit.
    """

    t_read_s: Annotated[float, Range(0, 1e6, above=True)]
    relative: CurveOrNumber | None = None
    """Factor of the deviation as a share of the drifted conductance, by the programmed one."""
    deviation_us: CurveOrNumber | None = None
    """The same in microsiemens, by the drifted conductance."""

    def __post_init__(self) -> None:
        if (self.relative is None) == (self.deviation_us is None):
            raise ImpossibleError("need one of relative and deviation_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPoint:
    """How far conductances have moved at one time since they were programmed."""

    time_s: Annotated[float, Range(0, 1e10, above=True)]
    mean_us: CurveOrNumber
    """Mean of the change, by the programmed conductance."""
    deviation_us: CurveOrNumber
    """From device to device; one that has moved far for its kind stays so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """Arrhenius: at `operating_c` everything that drifts or relaxes happens faster than where it was measured."""

    reference_c: CelsiusDegrees
    """Where the drift or retention was measured."""
    operating_c: CelsiusDegrees
    activation_ev: Annotated[float, Range(0, 10)]

    @property
    def acceleration(self) -> float:
        """Time at the reference temperature that one second here stands for: exp(Ea/k (1/T_ref - 1/T))."""
        cold, hot = self.reference_c + KELVIN_AT_0_C, self.operating_c + KELVIN_AT_0_C
        exponent = self.activation_ev / BOLTZMANN_EV_PER_K * (1.0 / cold - 1.0 / hot)
        return math.exp(max(-700.0, min(700.0, exponent)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLaw:
    """The noise law of a device by measured statistics; every part may be left out.

    Raises:
        ImpossibleError: parts that contradict each other.
    """

    programming: ProgrammingLaw | None = None
    drift: DriftLaw | None = None
    read_noise: ReadNoiseLaw | None = None
    retention: tuple[RetentionPoint, ...] = ()
    """By time, interpolated linearly in its logarithm; no model before the first point and after the last."""
    temperature: Temperature | None = None

    def __post_init__(self) -> None:
        if self.drift is not None and self.retention:
            raise ImpossibleError("give either drift or retention: both say how conductances change with time")
        times = [point.time_s for point in self.retention]
        if len(times) > MOST_POINTS or any(late <= early for early, late in pairwise(times)):
            raise ImpossibleError(f"retention: need at most {MOST_POINTS} points with rising time_s")
        if self.temperature is not None and self.drift is None and not self.retention:
            raise ImpossibleError("temperature: nothing changes with time, so give drift or retention, or leave it out")

    def __call__(self, preset: "DevicePreset") -> "BaseNoiseModel":
        """Noise model for the conductance window of a preset."""
        from nestevo_hw.crossbar.devices.model import measured_model

        return measured_model(self, preset)

    @property
    def acceleration(self) -> float:
        """By which temperature stretches time."""
        return 1.0 if self.temperature is None else self.temperature.acceleration

    @property
    def curves(self) -> dict[str, Curve]:
        """Every curve by its place."""
        parts = {"programming": self.programming, "drift": self.drift, "read_noise": self.read_noise}
        parts |= {f"retention.{number}": point for number, point in enumerate(self.retention)}  # type: ignore[misc]
        names = ("deviation_us", "mean_us", "mean", "deviation", "relative")
        found = ((f"{place}.{name}", getattr(part, name, None)) for place, part in parts.items() for name in names)
        return {place: curve for place, curve in found if curve is not None}

    @property
    def idle_is_silent(self) -> bool:
        """Whether a device that carries nothing stays at zero: all changes are shares of the conductance."""
        shifted = self.programming is not None and self.programming.mean_us is not None
        absolute = self.read_noise is not None and self.read_noise.deviation_us is not None
        return not (shifted or absolute or self.retention)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLaw:
    """A noise law by the class of an aihwkit noise model, shipped or your own."""

    model: str
    """module:Class."""
    arguments_json: str = "{}"
    """JSON object of its keyword arguments; as text, so that a law can be compared and hashed."""

    @classmethod
    def of(cls, model: str, **arguments: Any) -> "ModelLaw":  # noqa: ANN401 - any JSON value
        """The law of a class with these keyword arguments."""
        return cls(model=model, arguments_json=json.dumps(arguments, sort_keys=True, allow_nan=False))

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the class."""
        found: dict[str, Any] = json.loads(self.arguments_json)
        return found

    def __call__(self, preset: "DevicePreset") -> "BaseNoiseModel":
        """The model with the conductance window of a preset: its noise in microsiemens stays as it was fitted."""
        from nestevo_hw.crossbar.devices.model import class_model

        return class_model(self, preset)


def _check_table(targets: tuple[float, ...], values: tuple[float, ...]) -> None:
    if not 2 <= len(targets) <= MOST_POINTS or len(values) != len(targets):
        raise ImpossibleError(
            f"need 2 to {MOST_POINTS} conductances in target_us and as many values, "
            f"got {len(targets)} and {len(values)}"
        )
    if any(right <= left for left, right in pairwise(targets)):
        raise ImpossibleError("need rising conductances in target_us")
