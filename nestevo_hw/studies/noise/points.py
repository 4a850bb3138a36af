"""Scores of a noise benchmark and their confidence intervals."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from nestevo_hw.studies.noise.sweeps import SWEEPS, Value

_T975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""97.5 % quantiles of Student's t for 1 to 10 degrees of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """Scores at one value of one sweep, over independent draws of the noise."""

    sweep: str
    value: Value
    scene: str
    """What was scored: day, night or all; of students: teacher or student."""
    scores: Mapping[str, tuple[float, ...]]
    """By metric, the headline first; one score a draw, in the order of the draws."""
    training: str = ""
    """"", plain or noise-aware."""

    @property
    def variant(self) -> str:
        """Scene and training in one name."""
        return f"{self.scene} {self.training}".strip()

    @property
    def metric(self) -> str:
        """Name of the headline metric."""
        return next(iter(self.scores))

    @property
    def headline(self) -> tuple[float, ...]:
        """Scores of the headline metric."""
        return self.scores[self.metric]

    @property
    def mean(self) -> float:
        """Mean score."""
        return fmean(self.headline)

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the mean by Student's t."""
        return t_interval(self.headline)

    def document(self) -> dict[str, Any]:
        """The point in the machine-readable report."""
        return {
            "sweep": self.sweep,
            "value": self.value,
            "unit": SWEEPS[self.sweep].unit,
            "variant": self.variant,
            "scene": self.scene,
            "training": self.training,
            **summary(self.headline),
            "metrics": {metric: summary(scores) for metric, scores in self.scores.items()},
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "SweepPoint":
        """The point that `document` describes."""
        scores = {metric: tuple(entry["scores"]) for metric, entry in document["metrics"].items()}
        names = {key: document[key] for key in ("sweep", "value", "scene", "training")}
        return cls(scores=scores, **names)


def summary(scores: Sequence[float]) -> dict[str, Any]:
    """Mean, interval, number of repeats and the scores themselves; no interval for a single score."""
    interval = list(t_interval(scores)) if len(scores) > 1 else None
    return {"mean": fmean(scores), "ci95": interval, "repeats": len(scores), "scores": list(scores)}


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
    """One row a point and metric: sweep, value, unit, variant, mean, low, high, repeats, metric."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("sweep", "value", "unit", "variant", "mean", "ci95_low", "ci95_high", "repeats", "metric"))
    for p in points:
        value = p.value if isinstance(p.value, str) else f"{p.value:g}"
        for metric, scores in p.scores.items():
            numbers = (f"{number:.6g}" for number in (fmean(scores), *t_interval(scores)))
            rows.writerow((p.sweep, value, SWEEPS[p.sweep].unit, p.variant, *numbers, len(scores), metric))
    return text.getvalue()
