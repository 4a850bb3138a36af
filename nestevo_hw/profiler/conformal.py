"""Calibrated intervals from errors on architectures left out, and how unlike a task is to all that was seen."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nestevo_hw.profiler.step_features import Array

Trust = Literal["inside", "widened", "refused"]

COVERAGE = 0.9
"""Share of tasks whose true value an interval is to hold."""
NEIGHBOURS = 3
EDGE = 0.99
"""Samples further from their neighbours than this share of all lie at the edge of what was seen."""
REFUSED_BEYOND = 4.0
"""Tasks this many times further out than the edge are not predicted at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Half widths of intervals of logarithms: q times sqrt(spread of the members ^ 2 + floor ^ 2), each way.

    Split conformal prediction with a normalised score (Papadopoulos et al., 2008), the scores taken from samples
    whose architecture the scored model had not seen (cross-conformal, Vovk 2015).
    """

    quantiles: tuple[float, ...]
    """q, one a target."""
    floors: tuple[float, ...]
    """Of each target; the members agree too much where they are all wrong alike."""

    @classmethod
    def fit(cls, errors: Array, spreads: Array, *, coverage: float = COVERAGE) -> "Calibration":
        """From errors and members' spreads (N, T) of logarithms, out of fold."""
        floors = np.maximum(np.median(np.abs(errors), axis=0), 1e-4)
        scores = np.sort(np.abs(errors) / _difficulty(spreads, floors), axis=0)
        # The finite-sample rank of conformal prediction; the largest score where there are too few samples for it.
        rank = min(math.ceil((len(errors) + 1) * coverage), len(errors)) - 1
        return cls(quantiles=tuple(scores[rank].tolist()), floors=tuple(floors.tolist()))

    def half_widths(self, spreads: Array) -> Array:
        """Of intervals (N, T) of logarithms, for the members' spreads (N, T)."""
        return np.array(self.quantiles) * _difficulty(spreads, np.array(self.floors))


def _difficulty(spreads: Array, floors: Array) -> Array:
    difficulty: Array = np.sqrt(spreads**2 + floors**2)
    return difficulty


class Seen:
    """Where the samples lie, to tell what is unlike all of them.

    Args:
        points: features (N, F) of the samples.
    """

    def __init__(self, points: Array) -> None:
        self.points = points
        self._mean, scale = points.mean(0), points.std(0)
        self._scale = np.where(scale > 1e-6, scale, 1.0)
        self._scaled = (points - self._mean) / self._scale
        own = [self._distance(np.delete(self._scaled, i, 0), p) for i, p in enumerate(self._scaled)]
        self.edge = float(np.quantile(own, EDGE)) or 1.0

    def novelty(self, features: Array) -> Array:
        """Distance to the nearest samples, in units of the edge's, for features (N, F): above 1 is outside."""
        return np.array([self._distance(self._scaled, point) for point in self.scaled(features)]) / self.edge

    def scaled(self, features: Array) -> Array:
        """Features with the samples' mean taken away, in units of their standard deviation."""
        scaled: Array = (features - self._mean) / self._scale
        return scaled

    @staticmethod
    def _distance(points: Array, point: Array) -> float:
        squares = np.sort(((points - point) ** 2).mean(1))
        return float(np.sqrt(squares[:NEIGHBOURS]).mean())


def trust(novelty: float) -> Trust:
    """What a prediction at this novelty is worth."""
    if novelty <= 1.0:
        return "inside"
    return "widened" if novelty <= REFUSED_BEYOND else "refused"
