"""What terminals have forgotten: new models on the test frames of earlier windows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nestevo_hw.base.stats import mean
from nestevo_hw.pages.formats import change, score, share, signed
from nestevo_hw.pages.tables import Table
from nestevo_hw.report.events import Run
from nestevo_hw.report.records.terminal import Accuracy, Recall, Reuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """One terminal's model on the frames of one earlier window; accuracies are NaN where not measured."""

    window: int
    """After which the model was scored."""
    terminal: str
    scene: int
    """The earlier window."""
    unknown: float
    """Accuracy there before the scene was learned."""
    learned: float
    """Right after it was learned."""
    now: float
    reused: bool
    """Whether the model was trained from an earlier one."""

    @property
    def change(self) -> float:
        """Since the scene was learned; below 0 is forgetting."""
        return self.now - self.learned


def recalled(run: Run) -> Iterator[Recalled]:
    """Everything that was scored on frames of earlier windows."""
    scores = {(a.window, a.model, a.stage): a.score for a in run.of(Accuracy)}
    reused = {(r.window, r.terminal) for r in run.of(Reuse) if r.reused}
    for event in run.of(Recall):
        for scene, now in sorted(event.scores.items()):
            yield Recalled(
                window=event.window,
                terminal=event.terminal,
                scene=scene,
                unknown=scores.get((scene, event.terminal, "before"), math.nan),
                learned=scores.get((scene, event.terminal, "after"), math.nan),
                now=now,
                reused=(event.window, event.terminal) in reused,
            )


def backward_transfer(run: Run) -> float:
    """Mean change of accuracy on earlier scenes since each was learned (Lopez-Paz and Ranzato, NeurIPS 2017).

    Returns:
        Below 0 where the terminals have forgotten; NaN where nothing was scored again.
    """
    return mean(r.change for r in recalled(run))


def recall_table(run: Run) -> Table:
    """New models on the frames of earlier windows, and what they have forgotten on average."""
    found = list(recalled(run))
    changes = [r.change for r in found if math.isfinite(r.change)]
    worse = share(mean(float(c < 0) for c in changes))
    return Table(
        heads=("after window", "terminal", "frames of window", "before it was learned", "learned, now", "started from"),
        rows=[
            (str(r.window), r.terminal, str(r.scene), score(r.unknown), change(r.learned, r.now),
             "an earlier model" if r.reused else "its present model")
            for r in found
        ],
        note=f"New models on frames of earlier windows: {signed(mean(changes))} on average since these were learned "
        f"(backward transfer), worse in {worse} of the cases.",
    )  # fmt: skip
