"""Scores of a noise benchmark and their confidence intervals."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from nestevo_hw.base.stats import Estimate, t_interval
from nestevo_hw.studies.noise.sweeps import SWEEPS, Value


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
        where = {"sweep": self.sweep, "value": self.value, "unit": SWEEPS[self.sweep].unit}
        return {**where, **self.scored()}

    def scored(self) -> dict[str, Any]:
        """What was scored, and the scores, in the machine-readable report."""
        return {
            "variant": self.variant, "scene": self.scene, "training": self.training, **summary(self.headline),
            "metrics": {metric: summary(scores) for metric, scores in self.scores.items()},
        }  # fmt: skip


def summary(scores: Sequence[float]) -> dict[str, Any]:
    """Mean, interval, number of repeats and the scores themselves; no interval for a single score."""
    return {**Estimate.of(scores).document(), "repeats": len(scores), "scores": list(scores)}


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
