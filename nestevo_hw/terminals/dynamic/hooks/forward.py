"""Forward-forward learning: two layers, each of which learns by itself to be lively for what is right, and calm else.

After Hinton, *The Forward-Forward Algorithm* (2022), and Lee and Song, *SymBa* (2023): no error goes back through the
layers; each one's update is a product of what it takes and what it gives.
"""

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.terminals.dynamic.hooks.learners import Try, sigmoid

Floats = NDArray[np.float64]
_HIDDEN, _KEPT, _STEPS, _RATE, _DECAY = 16, 64, 8, 0.05, 0.0005
_AT = 1.0
"""Goodness that Hinton's loss parts at."""
_ALPHA = 4.0
"""Of SymBa's loss: how sharply it tells a pair apart."""


class ForwardForward:
    """Goodness of a descriptor together with a rung: high where the rung agreed.

    Args:
        rungs: of the ladder.
        width: numbers of a descriptor.
        symmetric: SymBa's loss in place of Hinton's.
        seed: of the first weights, and of what is remembered when.
    """

    def __init__(self, rungs: int, width: int, *, symmetric: bool, seed: int = 0) -> None:
        self._rungs, self._symmetric = rungs, symmetric
        self._draw = np.random.default_rng(seed)
        sizes = (width + rungs + 1, _HIDDEN, _HIDDEN)
        self._layers = [
            self._draw.standard_normal((after, before)) * np.sqrt(2 / before) for before, after in pairwise(sizes)
        ]
        self._known: tuple[deque[Try], deque[Try]] = (deque(maxlen=_KEPT), deque(maxlen=_KEPT))
        """Tries that did not agree, and that did."""
        self._at = _AT
        self._marks = np.concatenate([np.tri(rungs), np.ones((rungs, 1))], 1)
        """Of each rung: itself and those above it, one number each, and 1."""

    def sure(self, seen: Floats) -> Floats:
        """See `learners.Learner`."""
        x = np.concatenate([np.tile(seen / np.sqrt(len(seen)), (self._rungs, 1)), self._marks], 1)
        return sigmoid(_ALPHA * (self._goodness(self._layers, x) - self._at))

    def learn(self, one: Try) -> None:
        """See `learners.Learner`."""
        self._known[one.agreed].append(one)
        layers = list(self._layers)
        for step in range(_STEPS):
            pair = [one if step == 0 and kind == one.agreed else self._drawn(kind) for kind in (False, True)]
            x = [None if t is None else self._input(t.seen, self._told(t)) for t in pair]
            self._step(layers, x[1], x[0])
        self._layers = layers
        self._at = self._middle(layers) if self._symmetric else _AT

    def _step(self, layers: list[Floats], right: Floats | None, wrong: Floats | None) -> None:
        """One update of each layer, in place; a layer sees of what the one before gives the direction alone."""
        for index, layer in enumerate(layers):
            given = [None if x is None else np.maximum(layer @ x, 0.0) for x in (right, wrong)]
            goods = [None if v is None else float(np.mean(v**2)) for v in given]
            pull = self._pull(*goods)
            layers[index] = (1 - _DECAY) * layer
            for x, v, sign in ((right, given[0], pull[0]), (wrong, given[1], -pull[1])):
                if x is not None and v is not None:
                    layers[index] += _RATE * sign * 2 * np.outer(v, x)
            right, wrong = (None if v is None else _direction(v) for v in given)

    def _pull(self, right: float | None, wrong: float | None) -> tuple[float, float]:
        """How much goodness is to grow where it should be high, and to fall where it should be low."""
        if self._symmetric:
            # d/dG of log(1 + exp(-alpha (right - wrong)))
            if right is None or wrong is None:
                return 0.0, 0.0
            both = float(_ALPHA * sigmoid(np.array(-_ALPHA * (right - wrong))))
            return both, both
        # d/dG of log(1 + exp(at - right)) + log(1 + exp(wrong - at))
        return (
            0.0 if right is None else float(sigmoid(np.array(_AT - right))),
            0.0 if wrong is None else float(sigmoid(np.array(wrong - _AT))),
        )

    def _drawn(self, agreed: bool) -> Try | None:
        known = self._known[agreed]
        return known[int(self._draw.integers(len(known)))] if known else None

    def _told(self, one: Try) -> int:
        """A rung that a try says the same of."""
        told = one.tells_of(self._rungs)
        return int(told[int(self._draw.integers(len(told)))])

    def _input(self, seen: Floats, rung: int) -> Floats:
        """The descriptor at length one or less for its size, and the rung's marks."""
        return np.concatenate([seen / np.sqrt(len(seen)), self._marks[rung]])

    def _goodness(self, layers: list[Floats], x: Floats) -> Floats:
        """(N,) mean over the layers, of (N, inputs)."""
        total = np.zeros(len(x))
        for layer in layers:
            given = np.maximum(x @ layer.T, 0.0)
            total += np.mean(given**2, 1)
            x = _direction(given)
        return total / len(layers)

    def _middle(self, layers: list[Floats]) -> float:
        """Between the goodness of tries that agreed and of those that did not."""
        middles = [
            float(np.median(self._goodness(layers, np.stack([self._input(t.seen, t.rung) for t in known]))))
            for known in self._known if known
        ]  # fmt: skip
        # With one kind alone: as if the other lay a unit away from it.
        one_sided = 1.0 if self._known[0] else -1.0
        return sum(middles) / 2 if len(middles) == 2 else middles[0] + one_sided


def _direction(value: Floats) -> Floats:
    """At a root mean square of one."""
    found: Floats = value / (np.sqrt(np.mean(value**2, -1, keepdims=True)) + 1e-8)
    return found
