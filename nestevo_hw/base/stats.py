"""Means and their 95 % intervals by Student's t; shares and intervals that stay between 0 and 1."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy.special import expit, logit, ndtri, stdtrit


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval."""

    mean: float = math.nan
    """NaN where it is not defined."""
    ci95: tuple[float, float] | None = None
    """None from a single value, or where the values leave it unbounded."""

    @classmethod
    def of(cls, values: Iterable[float]) -> "Estimate":
        """Mean of independent values with its interval by Student's t; values that are not finite are left out."""
        found = [v for v in values if math.isfinite(v)]
        if not found:
            return cls()
        return cls(mean=fmean(found), ci95=t_interval(found) if len(found) > 1 else None)

    @property
    def known(self) -> bool:
        """Whether there is a figure at all."""
        return math.isfinite(self.mean)

    @property
    def half(self) -> float:
        """Half the width of the interval; NaN without one."""
        return math.nan if self.ci95 is None else (self.ci95[1] - self.ci95[0]) / 2

    @property
    def value(self) -> float | None:
        """The figure, or None where it is not defined."""
        return or_none(self.mean)

    @property
    def bounds(self) -> list[float] | None:
        """The interval, or None."""
        return None if self.ci95 is None else list(self.ci95)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"mean": self.value, "ci95": self.bounds}


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean of independent values.

    Raises:
        ValueError: fewer than two values.
    """
    half = t_margin(values, 0.975)
    return fmean(values) - half, fmean(values) + half


def share_interval(shares: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean of independent shares, which lies between 0 and 1.

    Student's t on the scale of the log odds, by the delta method: logit(m) +- t s / (m (1 - m)). Where all are 0 or all
    are 1 nothing is known of how they vary, and the interval is the value itself.

    Raises:
        ValueError: fewer than two values.
    """
    centre, half = fmean(shares), t_margin(shares, 0.975)
    if not 0.0 < centre < 1.0:
        return centre, centre
    reach, middle = half / (centre * (1.0 - centre)), float(logit(centre))
    # Of equal values the way there and back may end a rounding off the mean.
    return min(float(expit(middle - reach)), centre), max(float(expit(middle + reach)), centre)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share that was found in a number of independent trials (Wilson 1927).

    Args:
        share: of the trials, 0 to 1.
        count: trials, 1 or more.
    """
    z = float(ndtri(0.975))
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    middle, scale = share + z * z / (2 * count), 1 + z * z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def t_margin(values: Sequence[float], probability: float) -> float:
    """Standard error of the mean of independent values, times the quantile of Student's t at `probability`.

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"need two values or more for an interval, got {n}")
    return student_t(probability, n - 1) * stdev(values) / math.sqrt(n)


def student_t(probability: float, degrees: int) -> float:
    """Quantile of Student's t: below it lies this share of the distribution with so many degrees of freedom."""
    return float(stdtrit(degrees, probability))


def mean(values: Iterable[float]) -> float:
    """Mean of the finite values; NaN where there are none."""
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) / len(finite) if finite else math.nan


def total(values: Iterable[float]) -> float:
    """Sum of the finite values; NaN where there are none."""
    finite = [v for v in values if math.isfinite(v)]
    return sum(finite) if finite else math.nan


def or_none(value: float | None) -> float | None:
    """A number as JSON can hold it: None where there is none or it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """A number as arithmetic and records take it: NaN where there is none."""
    return math.nan if value is None else value
