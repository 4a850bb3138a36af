"""What a terminal can tell of its own accuracy without any label, wherever its model runs."""

import math
from dataclasses import dataclass

SURE = 0.5
"""Score from which on a prediction counts as what the terminal believes."""
BRIGHTER = 1.25
"""Factor of the second view's brightness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What a terminal can see of its own accuracy."""

    agreement: float
    """Headline score of its predictions on a changed view against its sure ones on the plain view, 0 to 1."""
    confidence: float
    """Mean score of its predictions, each weighted by itself, 0 to 1."""


def remaining_accuracy(now: Signals, known: Signals) -> float:
    """Estimated share of its accuracy that a model still has, 0 to 1.

    The geometric mean of how far both signals have kept their values; neither can make up for the other. A model that
    never agreed with itself is taken to have nothing left, so that it requests evolution.

    Args:
        now: on present frames.
        known: of the same model on frames on which its accuracy was last known to be good.
    """
    return math.sqrt(_kept(now.agreement, known.agreement) * _kept(now.confidence, known.confidence))


def _kept(now: float, known: float) -> float:
    return min(1.0, now / known) if known > 0 else 0.0
