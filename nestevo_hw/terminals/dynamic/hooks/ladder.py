"""The ladder: from few changes to many, each rung with those of the one before, or cheaper ones of the same stages."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nestevo_hw.terminals.dynamic.hooks.ways import Ways

TARGETS = (0.995, 0.98, 0.95, 0.9)
"""Mean F1 with the dense result, of each of which the rung that saves most is kept."""
_LEAST_LOSS = 0.002
"""Of F1: less cannot be told from none on a few frames."""


class Step(NamedTuple):
    """One way of one stage, alone."""

    stage: str
    way: str
    saved_s: float
    lost: float
    """Of F1."""


def climbed(steps: Sequence[Step], agreed: Callable[[Sequence[Ways]], Sequence[float]]) -> tuple[dict[str, str], ...]:
    """Rungs: greedily, whatever saves most for what it loses comes first.

    Args:
        steps: all ways of all stages.
        agreed: mean F1 of each of some combinations of ways.
    """
    tried = list[dict[str, str]]()
    now: dict[str, Step] = {}
    while better := [step for step in steps if _gain(step, now.get(step.stage))[0] > 0]:
        best = max(better, key=lambda step: _rate(step, now.get(step.stage)))
        now[best.stage] = best
        tried.append({stage: step.way for stage, step in now.items()})
    scores = agreed(tried) if tried else []
    kept = list[int]()
    for target in TARGETS:
        enough = [k for k, score in enumerate(scores) if score >= target]
        if enough and enough[-1] not in kept:
            kept.append(enough[-1])
    return tuple(tried[k] for k in sorted(kept))


def _gain(step: Step, before: Step | None) -> tuple[float, float]:
    """What a step saves and loses beyond the one that its stage has taken."""
    if before is None:
        return step.saved_s, step.lost
    return step.saved_s - before.saved_s, step.lost - before.lost


def _rate(step: Step, before: Step | None) -> float:
    saved, lost = _gain(step, before)
    return saved / max(_LEAST_LOSS, lost)
