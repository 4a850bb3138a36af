"""What terminals know of their own accuracy without labels."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from nestevo_hw.pages.style import Mark, Palette, colour_of, dress, new_figure
from nestevo_hw.report.events import Run
from nestevo_hw.report.plots import PANEL_IN
from nestevo_hw.report.records.terminal import Accuracy, Sense
from nestevo_hw.report.summary import section

FEWEST_POINTS = 3
"""From here on a correlation is shown."""
MARKS = {
    True: Mark(text="requests evolution", colour="before", shape="dot"),
    False: Mark(text="does not", colour="after", shape="dot"),
}
"""By whether a terminal requests evolution."""


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


def _scores(run: Run, stage: str) -> dict[tuple[int, str], float]:
    """Accuracy of each terminal's model in a stage, by window and terminal."""
    return {(a.window, a.model): a.score for a in run.of(Accuracy) if a.stage == stage}


def _correlation(found: Sequence[tuple[Sense, float]]) -> str:
    remains, accuracy = [s.remains for s, _ in found], [a for _, a in found]
    if len(found) < FEWEST_POINTS or min(np.std(remains), np.std(accuracy)) == 0:
        return "Too few estimates to tell how well they follow the truth."
    return f"Correlation with true accuracy: {np.corrcoef(remains, accuracy)[0, 1]:.2f}."
