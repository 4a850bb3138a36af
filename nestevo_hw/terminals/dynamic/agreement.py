"""How well two results of one frame agree."""

from nestevo_hw.terminals.judging import matched
from nestevo_hw.terminals.runtime import Found

SHOWN = 0.3
"""Score from which on an object counts."""


def f1(found: Found, dense: Found, *, least: float = SHOWN) -> float:
    """Harmonic mean of precision and recall of what is found, with the dense result as truth; 1 if both are empty."""
    found, dense = found.above(least), dense.above(least)
    total = len(found.scores) + len(dense.scores)
    hits = sum(
        sum(matched(found.boxes[found.labels == label], dense.boxes[dense.labels == label]))
        for label in {*found.labels.tolist()}
    )
    return 2 * hits / total if total else 1.0
