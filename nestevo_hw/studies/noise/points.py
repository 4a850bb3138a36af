"""Scores of a noise benchmark and their confidence intervals."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from nestevo_hw.base.stats import Estimate, share_interval, t_interval
from nestevo_hw.studies.data.scores import SHARES_OF_FRAMES
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
        """95 % interval of the mean (`score_interval`)."""
        return score_interval(self.metric, self.headline)

    def document(self) -> dict[str, Any]:
        """The point in the machine-readable report."""
        where = {"sweep": self.sweep, "value": self.value, "unit": SWEEPS[self.sweep].unit}
        return {**where, **self.scored()}

    def scored(self) -> dict[str, Any]:
        """What was scored, and the scores, in the machine-readable report."""
        return {
            "variant": self.variant, "scene": self.scene, "training": self.training,
            **summary(self.metric, self.headline),
            "metrics": {metric: summary(metric, scores) for metric, scores in self.scores.items()},
        }  # fmt: skip


def score_interval(metric: str, scores: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of scores between 0 and 1 over independent draws.

    Shares of frames on the scale of their log odds, which cannot leave 0 to 1; all others by Student's t, cut there.

    Raises:
        ValueError: fewer than two scores.
    """
    if metric in SHARES_OF_FRAMES:
        return share_interval(scores)
    low, high = t_interval(scores)
    return max(0.0, low), min(1.0, high)


def summary(metric: str, scores: Sequence[float]) -> dict[str, Any]:
    """Mean, interval, number of repeats and the scores themselves; no interval for a single score."""
    interval = score_interval(metric, scores) if len(scores) > 1 else None
    return {**Estimate(mean=fmean(scores), ci95=interval).document(), "repeats": len(scores), "scores": list(scores)}


def write_csv(points: Iterable[SweepPoint]) -> str:
    """One row a point and metric: sweep, value, unit, variant, mean, low, high, repeats, metric."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("sweep", "value", "unit", "variant", "mean", "ci95_low", "ci95_high", "repeats", "metric"))
    for p in points:
        value = p.value if isinstance(p.value, str) else f"{p.value:g}"
        for metric, scores in p.scores.items():
            numbers = (f"{number:.6g}" for number in (fmean(scores), *score_interval(metric, scores)))
            rows.writerow((p.sweep, value, SWEEPS[p.sweep].unit, p.variant, *numbers, len(scores), metric))
    return text.getvalue()
