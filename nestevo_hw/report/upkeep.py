"""Upkeep of the teacher: when it was programmed, how it fared in between, and what that cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nestevo_hw.pages.style import Mark, Palette, dress, new_figure
from nestevo_hw.report.events import Run
from nestevo_hw.report.plots import AFTER_X, BEFORE_X, PANEL_IN, draw_window_axis
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.teacher import Deploy, Program, Refresh

NEW_TEACHER = "new teacher"
"""Cause of a programming that the validation gate judges afterwards."""
MARKS = (
    Mark(text="before a window's labels", colour="teacher", shape="dot"),
    Mark(text="right after programming", colour="program", shape="dot"),
    Mark(text="new teacher that the validation gate rejected", colour="program", shape="ring"),
    Mark(text="age when the labels are made", colour="other"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measurement of the teacher on in-domain frames, in the order in which they were made."""

    x: float
    """In windows."""
    score: float
    programmed: bool
    """Measured right after programming, not before a window's labels."""
    in_force: bool = True
    """False for a new teacher that the validation gate rejected."""
    group: str = ""


def readings(run: Run) -> list[Reading]:
    """Every measurement of the teacher's upkeep."""
    accepted = {(d.window, d.group): d.accepted for d in run.of(Deploy)}
    found = []
    for event in run.events:
        if isinstance(event, Refresh):
            found.append(Reading(x=event.window + BEFORE_X, score=event.score, programmed=False, group=event.group))
        elif isinstance(event, Program):
            new = event.cause == NEW_TEACHER
            x = 0.0 if event.window == SETUP else event.window + (AFTER_X if new else BEFORE_X)
            kept = not new or accepted.get((event.window, event.group), True)
            found.append(Reading(x=x, score=event.score, programmed=True, in_force=kept, group=event.group))
    return [r for r in found if math.isfinite(r.score)]


def upkeep_panel(run: Run, palette: Palette) -> Figure:
    """In-domain accuracy of the teacher between its programmings, and below it its age at each window's labels."""
    figure = new_figure(*PANEL_IN, palette)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
    _draw_readings(upper, readings(run), palette)
    upper.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    upper.set_ylabel(run.header.metric)
    dress(upper, palette)
    _draw_ages(lower, run, palette)
    dress(lower, palette)
    draw_window_axis(lower, max(run.windows, 1))
    return figure


def _draw_readings(axes: Axes, found: Sequence[Reading], palette: Palette) -> None:
    for group in dict.fromkeys(r.group for r in found):
        line = [r for r in found if r.in_force and r.group == group]
        axes.plot([r.x for r in line], [r.score for r in line], color=palette.teacher, lw=1.6, zorder=2)
    for programmed, in_force, face, edge in (
        (False, True, palette.teacher, palette.surface),
        (True, True, palette.program, palette.surface),
        (True, False, "none", palette.program),
    ):
        shown = [r for r in found if (r.programmed, r.in_force) == (programmed, in_force)]
        axes.scatter(
            [r.x for r in shown], [r.score for r in shown], s=44 if programmed else 30,
            facecolor=face, edgecolor=edge, linewidth=1.0, zorder=3, clip_on=False,
        )  # fmt: skip


def _draw_ages(axes: Axes, run: Run, palette: Palette) -> None:
    """Age of the oldest teacher at each window's labels: of one programmed for it, that at its first label."""
    fresh = {(p.window, p.group): p.age_s for p in run.of(Program) if p.cause != NEW_TEACHER}
    ages: dict[int, float] = {}
    for r in run.of(Refresh):
        age = fresh.get((r.window, r.group), math.nan) if r.refreshed else r.age_s
        if math.isfinite(age) and age > 0:
            ages[r.window] = max(age / 3600.0, ages.get(r.window, 0.0))
    axes.bar([w + 0.5 for w in ages], list(ages.values()), width=0.34, color=palette.other)
    axes.yaxis.set_major_locator(MaxNLocator(2))
    axes.set_ylabel("age, h")
