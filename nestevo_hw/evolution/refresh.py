"""When to program the teacher again: drift costs accuracy with time, programming costs time, energy and wear."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.crossbar.devices import PRESETS, DevicePreset

YEAR_S = 365.25 * 86_400.0

PolicyName = Literal["never", "always", "every", "threshold", "cost-aware"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshConfig:
    """When the teacher in force is written onto the crossbar again."""

    policy: PolicyName = "cost-aware"
    """never, always (each window), every (`period_h`), threshold (`margin`) or cost-aware."""
    period_h: Annotated[float, Range(0, 1e6, above=True)] = 168.0
    """Hours between two programmings under the policy every."""
    margin: Annotated[float, SHARE] = 0.03
    """Headline score on in-domain frames that the teacher may lose since its programming under threshold."""
    chip: str | None = None
    """Chip whose published figures model programming time, energy and wear; None: one of the device's technology."""
    doubt: Annotated[float, SHARE] = 0.05
    """Score by which the measured loss may be too small; cost-aware refreshes unless it is clearly not worth it."""
    lifetime_years: Annotated[float, Range(0.001, 10_000)] = 10.0
    """How long the cells should last; cost-aware spreads their writes over this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programming:
    """What writing the teacher once costs; modelled, not measured."""

    time_s: float
    energy_j: float
    wear: float
    """Share of the cells' endurance that it uses up, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is known of the teacher in force before it labels the frames of a window."""

    age_s: float
    """Since its last programming, at the time of labelling."""
    score: float
    """Headline score on held-out in-domain frames at this age."""
    fresh_score: float
    """The same right after its last programming."""
    interval_s: float
    """To the next window, which is the next opportunity."""
    in_service_s: float
    """Since the cells were written for the first time."""
    programmings: int
    """Of these cells so far, the first included."""
    programming: Programming
    """What one more would cost."""

    @property
    def lost(self) -> float:
        """Accuracy lost since the last programming; negative where measured higher by chance."""
        return self.fresh_score - self.score


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Whether to program the teacher again, and why."""

    refresh: bool
    reason: str


UNMEASURED = Choice(refresh=False, reason="no in-domain object to measure the teacher by")


class RefreshPolicy(Protocol):
    """Decides before each window; equal conditions give equal choices."""

    def decide(self, teacher: Condition) -> Choice:
        """Whether to program the teacher again before it labels."""
        ...


@dataclass(frozen=True, slots=True)
class Never:
    """Only a new teacher is programmed."""

    def decide(self, teacher: Condition) -> Choice:  # noqa: ARG002 - the answer is always the same
        """Keep the teacher."""
        return Choice(refresh=False, reason="policy never")


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Program at a fixed period, whatever the teacher's state; a period of 0 means at each window."""

    period_s: float

    def decide(self, teacher: Condition) -> Choice:
        """Refresh once the age has reached the period."""
        if self.period_s == 0.0:
            return Choice(refresh=True, reason="policy always")
        due = teacher.age_s >= self.period_s
        relation = ">=" if due else "<"
        reason = f"age {hours(teacher.age_s)} {relation} period {hours(self.period_s)}"
        return Choice(refresh=due, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Program once the measured score has dropped by more than a margin."""

    margin: float

    def decide(self, teacher: Condition) -> Choice:
        """Refresh once more than the margin is lost."""
        if math.isnan(teacher.lost):
            return UNMEASURED
        due = teacher.lost > self.margin
        relation = ">" if due else "<="
        return Choice(refresh=due, reason=f"lost {teacher.lost:.3f} {relation} margin {self.margin:.3f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAware:
    """Program before each window unless that clearly costs more labels than it improves, or the cells cannot afford it.

    Gain and loss are in labels x accuracy, so the number of labels cancels out: a programming gains what was lost
    for the whole window and loses everything while it lasts. The loss measured on in-domain frames is uncertain, and
    smaller than on drifted ones, so it counts with the doubt added. Writes are a budget that grows evenly over the
    lifetime; they have no price as long as there are some left, because unspent ones are worth nothing.
    """

    lifetime_s: float
    doubt: float

    def decide(self, teacher: Condition) -> Choice:
        """Refresh where it may pay and the budget of writes allows it."""
        if math.isnan(teacher.lost):
            return UNMEASURED
        waiting = teacher.fresh_score * min(teacher.programming.time_s / teacher.interval_s, 1.0)
        spent, allowed = teacher.programmings * teacher.programming.wear, teacher.in_service_s / self.lifetime_s
        if spent > allowed:
            return Choice(refresh=False, reason=f"wear {spent:.2g} of the cells' life is ahead of its {allowed:.2g}")
        pays = teacher.lost + self.doubt > waiting
        relation = ">" if pays else "<="
        reason = f"lost {teacher.lost:.3f} + doubt {self.doubt:g} {relation} {waiting:.2g} lost by waiting"
        return Choice(refresh=pays, reason=reason)


def chip_of(config: RefreshConfig, device: DevicePreset | None) -> str:
    """Name of the chip that models what programming costs; a digital teacher, which is not programmed, has one too."""
    return config.chip or (device or PRESETS["ideal"]).chip


def refresh_policy(config: RefreshConfig) -> RefreshPolicy:
    """The policy of a configuration."""
    match config.policy:
        case "never":
            return Never()
        case "always":
            return Every(period_s=0.0)
        case "every":
            return Every(period_s=config.period_h * 3600.0)
        case "threshold":
            return Threshold(margin=config.margin)
        case "cost-aware":
            return CostAware(lifetime_s=config.lifetime_years * YEAR_S, doubt=config.doubt)


def hours(seconds: float) -> str:
    """A time as hours, in few characters."""
    return f"{seconds / 3600.0:.3g} h"
