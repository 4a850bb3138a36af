"""Learning from finished tasks: how far a stored profile misses them, and how wide its intervals must be."""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from nestevo_hw.profiler.step_features import Array

KIND_SCALE = 0.5
"""How far a whole kind of task may lie off the profile: it also reads files, augments, writes models."""
PLACE_SCALE = 0.15
"""How far tasks of a kind may differ from one another in that."""
NOISE = 0.05
"""Of one run."""
REMEMBERED = 300
"""Latest tasks; a machine changes, and older ones would slow predictions down."""
STEP = 0.08
"""How fast intervals are made wider after a miss (adaptive conformal inference, Gibbs and Candes 2021)."""


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: str
    place: Array
    residual: float


@dataclass(slots=True)
class Residuals:
    """Gaussian process over logarithms of measured / predicted: an offset of each kind, and a smooth part within it."""

    seen: deque[_Seen] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def add(self, kind: str, place: Array, residual: float) -> None:
        """Remember a finished task: its kind, features scaled to about one, log(measured / predicted)."""
        self.seen.append(_Seen(kind, place, residual))

    def at(self, kind: str, place: Array) -> tuple[float, float]:
        """Expected residual of a task and its standard deviation; zero and the widest without any of its kind."""
        prior = math.hypot(KIND_SCALE, PLACE_SCALE)
        like = [s for s in self.seen if s.kind == kind]
        if not like:
            return 0.0, prior
        places, residuals = np.stack([s.place for s in like]), np.array([s.residual for s in like])
        covariance = _kernel(places, places) + NOISE**2 * np.eye(len(like))
        across = _kernel(places, place[None])[:, 0]
        weights = np.linalg.solve(covariance, np.stack([residuals, across], 1))
        variance = prior**2 - float(across @ weights[:, 1])
        return float(across @ weights[:, 0]), math.sqrt(max(variance, 0.0))


def _kernel(a: Array, b: Array) -> Array:
    squares = ((a[:, None] - b[None]) ** 2).mean(-1) if a.shape[1] else np.zeros((len(a), len(b)))
    covariance: Array = KIND_SCALE**2 + PLACE_SCALE**2 * np.exp(-squares / 2)
    return covariance


class AdaptiveWidth:
    """Factor on the width of intervals that keeps their long-run coverage, however the errors change.

    Args:
        coverage: share of tasks an interval is to hold.
    """

    def __init__(self, coverage: float) -> None:
        self.factor = 1.0
        self._coverage = coverage

    def learn(self, *, covered: bool) -> None:
        """Take a finished task into account: wider after a miss, a little narrower after a hit."""
        self.factor *= math.exp(STEP * (self._coverage - 1 if covered else self._coverage))
