"""What decides on cheaper ways, and how it learns."""

from dataclasses import dataclass
from typing import Annotated, Literal

from nestevo_hw.base.ranges import FRAMES, SHARE, Range

LearnerName = Literal["constant", "threshold", "logistic", "forward", "symba"]
"""See `nestevo_hw.terminals.dynamic.hooks.learners`; the last two learn by forward-forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """Of the hook of one dynamic model."""

    learner: LearnerName = "constant"
    """What learns which of the ways are good enough."""
    agreement: Annotated[float, SHARE] = 0.95
    """F1 with the dense result from which on a way is good enough."""
    least_sure: Annotated[float, SHARE] = 0.8
    """Probability that it is, from which on it is taken."""
    learn_every: Annotated[int, FRAMES] = 50
    """Computed frames from one that is tried on to the next."""
    most_learning: Annotated[float, Range(0, 1)] = 0.05
    """Of the time for frames, that trying may take."""
