"""What this project aims at, and whether a comparison reached it."""

from dataclasses import dataclass
from typing import Any, Literal

from nestevo_hw.base.stats import Estimate
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.results import UNCHANGED, Comparison
from nestevo_hw.studies.compare.variants import A1, A3, A4, A4_CONFIRMED, DIGITAL_TEACHER, NESTEVO, TRUE_LABELS

GAP_CLOSED = 0.50
"""Of the room between distilling from the unchanged teacher (A4) and true labels: on the mean and on each drift."""
GAIN = 0.45
"""Relative gain of the terminals over those that never evolve (A3), as in Table 4."""
LEAD = 0.15
"""By which the terminals' relative gain exceeds that of A4 and of A1."""
TEACHER_GAIN = 0.10
"""Relative gain of the teacher over the unchanged one, where both have the scene's BatchNorm statistics."""
ANALOG_LOSS = 0.01
"""Accuracy the terminals may lose because their teacher is analog."""

State = Literal["reached", "missed", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One aim with what was measured."""

    name: str
    target: float
    """The least that reaches it, or the most where `at_most`."""
    estimate: Estimate
    at_most: bool = False
    share: bool = True
    """Whether it is a share, shown in per cent, or a difference of accuracies."""
    why: str = ""
    """Why it was not measured."""
    within_interval: bool = False
    """Reached too where the interval covers the target: asks only for not being worse."""

    @property
    def state(self) -> State:
        """Whether the mean over seeds reached it."""
        if not self.estimate.known or (self.within_interval and self.estimate.ci95 is None):
            return "not measured"
        value = self.estimate.mean
        if self.within_interval and self.estimate.ci95 is not None:
            value = self.estimate.ci95[1]
        return "reached" if (value <= self.target if self.at_most else value >= self.target) else "missed"

    @property
    def certain(self) -> bool | None:
        """Whether the whole interval is on the same side of the target; None without an interval."""
        if self.estimate.ci95 is None:
            return None
        low, high = self.estimate.ci95
        return not low < self.target < high

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name, "target": self.target, "at_most": self.at_most, "value": self.estimate.value,
            "ci95": self.estimate.bounds, "state": self.state, "certain": self.certain, "why": self.why,
        }  # fmt: skip


def goals(found: Comparison) -> list[Goal]:
    """All aims, in the order to show them."""
    kinds = {kind: places for kind, places in found.kinds.items() if kind != UNCHANGED}
    no_gap = _needs(found, A4, TRUE_LABELS) or "true labels are no better than A4 here, so there is no room to fill"
    room = [("", None), *((f" under {kind}", places) for kind, places in kinds.items())]
    aims = [
        Goal(name=f"gap closed{under}", target=GAP_CLOSED, estimate=measures.gap_closed(found, NESTEVO, places),
             why=no_gap)
        for under, places in room
    ]  # fmt: skip
    aims.append(Goal(name="relative gain of the terminals", target=GAIN,
                     estimate=measures.gain_over(found, NESTEVO, A3), why=_needs(found, A3)))  # fmt: skip
    aims += [
        Goal(name=f"relative gain above that of {other}", target=LEAD,
             estimate=measures.lead(found, NESTEVO, other), why=_needs(found, A3, other))
        for other in (A4, A1)
    ]  # fmt: skip
    aims.append(Goal(name="relative gain of the teacher over the unchanged one", target=TEACHER_GAIN,
                     estimate=measures.teacher_gain_over(found, NESTEVO, A4_CONFIRMED),
                     why=_needs(found, A4_CONFIRMED) or "the teacher never evolved"))  # fmt: skip
    aims.append(Goal(name="accuracy lost by the analog teacher", target=ANALOG_LOSS, at_most=True, share=False,
                     estimate=measures.analog_loss(found), why=_needs(found, DIGITAL_TEACHER)))  # fmt: skip
    aims += [
        Goal(name=f"not worse than A4 under {kind}", target=0.0, share=False, within_interval=True,
             estimate=measures.difference(found, NESTEVO, A4, places),
             why=_needs(found, A4) or "needs two seeds or more")
        for kind, places in kinds.items()
    ]  # fmt: skip
    return aims


def _needs(found: Comparison, *names: str) -> str:
    missing = [name for name in (NESTEVO, *names) if not found.has(name)]
    return f"needs runs of {' and '.join(missing)}" if missing else ""
