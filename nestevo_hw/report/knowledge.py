"""What terminals know: of their own accuracy without labels, and of earlier scenes."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from nestevo_hw.pages.formats import DASH, change, score, share, signed
from nestevo_hw.pages.style import Mark, Palette, colour_of, dress, new_figure
from nestevo_hw.pages.tables import Table
from nestevo_hw.report.events import Run
from nestevo_hw.report.plots import PANEL_IN
from nestevo_hw.report.records import Accuracy, Recall, Reuse, Sense
from nestevo_hw.report.summary import section

FEWEST_POINTS = 3
"""From here on a correlation is shown."""
MARKS = {
    True: Mark(text="requests evolution", colour="before", shape="dot"),
    False: Mark(text="does not", colour="after", shape="dot"),
}
"""By whether a terminal requests evolution."""


def backward_transfer(learned: Mapping[int, float], now: Mapping[int, float]) -> float | None:
    """Mean change of accuracy on earlier scenes since each was learned (Lopez-Paz and Ranzato, NeurIPS 2017).

    Args:
        learned: accuracy on the frames of each window right after it was learned.
        now: accuracy of the present model on the same frames.

    Returns:
        Below 0 where the model has forgotten; None where no window is in both.
    """
    both = [window for window in now if window in learned]
    return sum(now[w] - learned[w] for w in both) / len(both) if both else None


def estimates(run: Run) -> list[tuple[Sense, float]]:
    """Every estimate with the terminal's true accuracy at that time; labels are known to the evaluation only."""
    true = _scores(run, "before")
    pairs = [(s, true.get((s.window, s.terminal), math.nan)) for s in run.of(Sense)]
    return [(s, accuracy) for s, accuracy in pairs if math.isfinite(accuracy)]


def trigger_panel(run: Run, palette: Palette) -> Figure:
    """Estimated remaining accuracy against true accuracy, one point a terminal and window."""
    figure = new_figure(*PANEL_IN, palette)
    axes = figure.subplots()
    for requests, mark in MARKS.items():
        points = [(s.remains, accuracy) for s, accuracy in estimates(run) if s.requests == requests]
        axes.scatter([x for x, _ in points], [y for _, y in points], color=colour_of(palette, mark.colour), s=30)
    axes.set_xlabel("accuracy that seems left, share")
    axes.set_ylabel(f"true {run.header.metric}")
    axes.set_xlim(0, 1.05)
    axes.set_ylim(0, 1)
    dress(axes, palette)
    return figure


def trigger_text(run: Run) -> str:
    """How many uploads the terminals' own estimates save, and how well they follow the truth; empty without any."""
    found = estimates(run)
    if not found:
        return ""
    calm = sum(not s.requests for s, _ in found)
    saved = "were" if section(run.header.config, "trigger").get("mode") == "request" else "would be"
    return (
        "Before a window each terminal estimates its own accuracy, without labels: "
        f"{calm} of {len(found)} uploads {saved} saved. {_correlation(found)}"
    )


def recall_table(run: Run) -> Table:
    """New models on the frames of earlier windows, and what they have forgotten on average."""
    learned, before = _scores(run, "after"), _scores(run, "before")
    reused = {(r.window, r.terminal) for r in run.of(Reuse) if r.reused}
    rows, losses = [], []
    for event in run.of(Recall):
        for window, now in sorted(event.scores.items()):
            then = learned.get((window, event.terminal), math.nan)
            first = before.get((window, event.terminal), math.nan)
            start = "an earlier model" if (event.window, event.terminal) in reused else "its present model"
            rows.append((str(event.window), event.terminal, str(window), score(first), change(then, now), start))
            lost = backward_transfer({window: then}, {window: now})
            losses += [lost] if lost is not None and math.isfinite(lost) else []
    mean = signed(sum(losses) / len(losses)) if losses else DASH
    worse = share(sum(loss < 0 for loss in losses) / len(losses)) if losses else DASH
    return Table(
        heads=("after window", "terminal", "frames of window", "before it was learned", "learned, now", "started from"),
        rows=rows,
        note=f"New models on frames of earlier windows: {mean} on average since these were learned (backward "
        f"transfer), worse in {worse} of the cases.",
    )


def _scores(run: Run, stage: str) -> dict[tuple[int, str], float]:
    """Accuracy of each terminal's model in a stage, by window and terminal."""
    return {(a.window, a.model): a.score for a in run.of(Accuracy) if a.stage == stage}


def _correlation(found: Sequence[tuple[Sense, float]]) -> str:
    remains, accuracy = [s.remains for s, _ in found], [a for _, a in found]
    if len(found) < FEWEST_POINTS or min(np.std(remains), np.std(accuracy)) == 0:
        return "Too few estimates to tell how well they follow the truth."
    return f"Correlation with true accuracy: {np.corrcoef(remains, accuracy)[0, 1]:.2f}."
