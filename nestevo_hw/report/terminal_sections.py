"""The page's sections on what terminals know: of themselves, of earlier scenes, and who was missing."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from nestevo_hw.pages.markup import MEASURED, card, cards, heading, note, table
from nestevo_hw.pages.style import THEMED, Palette, dress, inline_svg, new_figure
from nestevo_hw.report.events import Run
from nestevo_hw.report.forgetting import backward_transfer
from nestevo_hw.report.plots import PANEL_IN
from nestevo_hw.report.records import Absent, Accuracy, Failure, Groups, Recall, Reuse, Sense
from nestevo_hw.report.wording import DASH, change, counted, score, share, signed

FEWEST_POINTS = 3
"""From here on a correlation is shown."""


def estimates(run: Run) -> list[tuple[Sense, float]]:
    """Every estimate with the terminal's true accuracy at that time; labels are known to the evaluation only."""
    true = {(a.window, a.model): a.score for a in run.of(Accuracy) if a.stage == "before"}
    pairs = [(s, true.get((s.window, s.terminal), math.nan)) for s in run.of(Sense)]
    return [(s, accuracy) for s, accuracy in pairs if math.isfinite(accuracy)]


def knowledge(run: Run) -> str:
    """Label-free estimates against the truth, and what new models still know of earlier windows."""
    contents = [*_trigger(run), *_recall(run)]
    if not contents:
        return ""
    return heading("What the terminals know", MEASURED) + cards(contents, pairwise=True)


def troubles(run: Run) -> str:
    """Groups, cameras that sent nothing of use, and tasks that failed and were outlived."""
    parts = []
    for event in run.of(Groups):
        members = [(name, ", ".join(own)) for name, own in event.groups.items()]
        text = f"Each group has a teacher of its own; formed by {event.by}."
        parts.append(heading("Groups of terminals") + note(text) + card(table(("group", "terminals"), members)))
    rows = [(str(e.window), e.terminal, "camera", e.reason) for e in run.of(Absent)]
    rows += [(str(e.window), e.terminal or "server", e.kind, e.reason) for e in run.of(Failure)]
    if rows:
        text = "A terminal that cannot take part keeps its model; the others go on."
        parts.append(
            heading("What went wrong", MEASURED)
            + note(text)
            + card(table(("window", "who", "where", "what happened"), sorted(rows)))
        )
    return "".join(parts)


def trigger_panel(run: Run, palette: Palette) -> Figure:
    """Estimated remaining accuracy against true accuracy, one point a terminal and window."""
    figure = new_figure(*PANEL_IN, palette)
    axes = figure.subplots()
    for requests, colour in ((True, palette.before), (False, palette.after)):
        points = [(s.remains, accuracy) for s, accuracy in estimates(run) if s.requests == requests]
        axes.scatter([x for x, _ in points], [y for _, y in points], color=colour, s=30)
    axes.set_xlabel("accuracy that seems left, share")
    axes.set_ylabel(f"true {run.header.metric}")
    axes.set_xlim(0, 1.05)
    axes.set_ylim(0, 1)
    dress(axes, palette)
    return figure


def _trigger(run: Run) -> list[str]:
    found = estimates(run)
    if not found:
        return []
    svg = inline_svg(trigger_panel(run, THEMED), "Estimated against true accuracy")
    calm = [s for s, _ in found if not s.requests]
    text = (
        f"Before a window each terminal judges itself, without labels. Orange asks for evolution, violet does not: "
        f"{counted(len(calm), 'upload')} of {len(found)} would be saved. {_correlation(found)}"
    )
    return [card(svg, text)]


def _correlation(found: Sequence[tuple[Sense, float]]) -> str:
    remains, accuracy = [s.remains for s, _ in found], [a for _, a in found]
    if len(found) < FEWEST_POINTS or min(np.std(remains), np.std(accuracy)) == 0:
        return "Too few estimates to tell how well they follow the truth."
    return f"Correlation with true accuracy: {np.corrcoef(remains, accuracy)[0, 1]:.2f}."


def _recall(run: Run) -> list[str]:
    learned = {(a.window, a.model): a.score for a in run.of(Accuracy) if a.stage == "after"}
    before = {(a.window, a.model): a.score for a in run.of(Accuracy) if a.stage == "before"}
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
    if not rows:
        return []
    heads = ("after window", "terminal", "frames of window", "before it was learned", "learned, now", "started from")
    mean = signed(sum(losses) / len(losses)) if losses else DASH
    worse = share(sum(loss < 0 for loss in losses) / len(losses)) if losses else DASH
    text = (
        f"New models on frames of earlier windows: {mean} on average since these were learned (backward transfer), "
        f"worse in {worse} of the cases."
    )
    return [card(table(heads, rows), text)]
