"""What learns, from one try at a time, how far down the ladder a frame may go: one interface, five ways.

A frame is seen as a descriptor, (C,) numbers of about unit size, and rungs are counted from 0, the one that changes
least. Rungs are nested: where one is good enough so are those above it, and where one is not, nor are those below.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.terminals.dynamic.hooks.config import LearnerName

Floats = NDArray[np.float64]
_KEPT = 64
"""Newest tries that are remembered."""
_FADE = 0.9
"""Weight of a try against that of the next one."""
_STEPS, _RATE, _DECAY = 8, 0.5, 1e-3


class Try(NamedTuple):
    """A rung, tried on a frame."""

    seen: Floats
    rung: int
    agreed: bool

    def tells_of(self, rungs: int) -> range:
        """Rungs that it says the same of."""
        return range(self.rung + 1) if self.agreed else range(self.rung, rungs)


class Learner(Protocol):
    """Learns which rungs are good enough."""

    def sure(self, seen: Floats) -> Floats:
        """(rungs,) probability of each that it is good enough for a frame."""

    def learn(self, one: Try) -> None:
        """Take one more try; what `sure` reads meanwhile is as before or as after it."""


class Constant:
    """The share of the latest tries that agreed, whatever a frame shows."""

    def __init__(self, rungs: int) -> None:
        self._counts = np.zeros((2, rungs))

    def sure(self, seen: Floats) -> Floats:
        """See `Learner`."""
        del seen
        good, all_ = self._counts
        return np.asarray((good + 0.5) / (all_ + 1))

    def learn(self, one: Try) -> None:
        """See `Learner`."""
        counts, told = self._counts.copy(), list(one.tells_of(self._counts.shape[1]))
        counts[:, told] = _FADE * counts[:, told] + np.array([[float(one.agreed)], [1.0]])
        self._counts = counts


class Threshold:
    """The share of the latest tries on either side of a threshold of the frame's distance from the usual one."""

    def __init__(self, rungs: int) -> None:
        self._rungs = rungs
        self._tries: deque[Try] = deque(maxlen=_KEPT)
        self._rules = [(np.inf, 0.5, 0.5)] * rungs
        """Of each rung: the threshold, and how sure below and above it."""

    def sure(self, seen: Floats) -> Floats:
        """See `Learner`."""
        distance = _distance(seen)
        return np.array([below if distance <= at else above for at, below, above in self._rules])

    def learn(self, one: Try) -> None:
        """See `Learner`."""
        self._tries.append(one)
        rules = list(self._rules)
        for rung in one.tells_of(self._rungs):
            rules[rung] = self._rule(rung)
        self._rules = rules

    def _rule(self, rung: int) -> tuple[float, float, float]:
        told = [one for one in self._tries if rung in one.tells_of(self._rungs)]
        distances = np.array([_distance(one.seen) for one in told])
        order = np.argsort(distances, kind="stable")
        weights = (0.95 ** np.arange(len(told) - 1, -1, -1))[order]
        good = weights * np.array([one.agreed for one in told])[order]
        # Of every threshold, the tries up to it and those beyond; the last one has all below.
        below, above = np.cumsum([good, weights], 1), np.sum([good, weights], 1)[:, None]
        sides = np.stack([below, np.maximum(above - below, 0.0)])
        sure = (sides[:, 0] + 0.5) / (sides[:, 1] + 1)
        wrong = np.where(sure > 0.5, sides[:, 1] - sides[:, 0], sides[:, 0]).sum(0)
        best = int(wrong[::-1].argmin())
        at = len(told) - 1 - best
        return float(distances[order[at]]) if best else np.inf, float(sure[0, at]), float(sure[1, at])


class Logistic:
    """Online logistic regression for each rung: steps down the gradient at the newest try and some remembered ones."""

    def __init__(self, rungs: int, width: int, seed: int = 0) -> None:
        self._weights = np.zeros((rungs, width + 1))
        self._tries: deque[Try] = deque(maxlen=_KEPT)
        self._draw = np.random.default_rng(seed)

    def sure(self, seen: Floats) -> Floats:
        """See `Learner`."""
        return sigmoid(self._weights @ _with_one(seen))

    def learn(self, one: Try) -> None:
        """See `Learner`."""
        self._tries.append(one)
        weights = self._weights.copy()
        for chosen in (one, *(self._tries[k] for k in self._draw.integers(0, len(self._tries), _STEPS - 1))):
            x, told = _with_one(chosen.seen), list(chosen.tells_of(len(weights)))
            wrong = float(chosen.agreed) - sigmoid(weights[told] @ x)
            weights[told] += _RATE * (np.outer(wrong, x) - _DECAY * weights[told])
        self._weights = weights


def made(name: LearnerName, rungs: int, width: int, known: Iterable[Try] = ()) -> Learner:
    """A learner that knows some tries.

    Args:
        name: of the kind.
        rungs: of the ladder.
        width: numbers of a descriptor.
        known: tries of before, in order.
    """
    from nestevo_hw.terminals.dynamic.hooks.forward import ForwardForward

    learner: Learner
    match name:
        case "constant":
            learner = Constant(rungs)
        case "threshold":
            learner = Threshold(rungs)
        case "logistic":
            learner = Logistic(rungs, width)
        case "forward" | "symba":
            learner = ForwardForward(rungs, width, symmetric=name == "symba")
    for one in known:
        learner.learn(one)
    return learner


def sigmoid(value: Floats) -> Floats:
    """1 / (1 + exp(-value)), which never overflows."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)))


def _distance(seen: Floats) -> float:
    return float(np.sqrt(np.mean(seen**2)))


def _with_one(seen: Floats) -> Floats:
    """The descriptor at length one or less for its size, and 1."""
    return np.append(seen / np.sqrt(len(seen)), 1.0)
