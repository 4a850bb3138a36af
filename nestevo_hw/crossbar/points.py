"""Scores of a noise benchmark and their confidence intervals."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

_T975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""97.5 % quantiles of Student's t for 1 to 10 degrees of freedom."""
UNITS = {
    "mu": "of the layer's weight range",
    "time_s": "s after programming",
    "dac_bits": "bits",
    "adc_bits": "bits",
    "output_noise": "of full-scale input x largest weight",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """Scores at one value of one sweep, over independent draws of the noise."""

    sweep: str
    value: float
    variant: str
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score."""
        return fmean(self.scores)

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the mean by Student's t."""
        return t_interval(self.scores)

    def document(self) -> dict[str, Any]:
        """The point in the machine-readable report."""
        return {
            "sweep": self.sweep,
            "value": self.value,
            "unit": UNITS[self.sweep],
            "variant": self.variant,
            "mean": self.mean,
            "ci95": list(self.ci95),
            "repeats": len(self.scores),
            "scores": list(self.scores),
        }


def t_interval(scores: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of the mean of independent scores.

    Raises:
        ValueError: fewer than two scores.
    """
    n = len(scores)
    if n < 2:
        raise ValueError(f"need two scores or more for an interval, got {n}")
    half = student_t975(n - 1) * stdev(scores) / math.sqrt(n)
    return fmean(scores) - half, fmean(scores) + half


def student_t975(degrees: int) -> float:
    """97.5 % quantile of Student's t, by table up to 10 degrees of freedom, then by Cornish and Fisher."""
    if degrees <= len(_T975):
        return _T975[degrees - 1]
    z, n = 1.959964, float(degrees)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


def write_csv(points: Iterable[SweepPoint]) -> str:
    """One row a point: sweep, value, unit, variant, mean, low, high, repeats."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("sweep", "value", "unit", "variant", "mean", "ci95_low", "ci95_high", "repeats"))
    for p in points:
        numbers = (f"{number:.6g}" for number in (p.mean, *p.ci95))
        rows.writerow((p.sweep, f"{p.value:g}", UNITS[p.sweep], p.variant, *numbers, len(p.scores)))
    return text.getvalue()
