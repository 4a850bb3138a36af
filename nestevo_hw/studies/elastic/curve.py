"""Pictures: accuracy against latency of all paths that a search evaluated, and the times of a terminal's frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from matplotlib.figure import Figure

from nestevo_hw.pages.style import LIGHT, SMALL, Mark, Palette, colour_of, dress, legend, new_figure, save_png
from nestevo_hw.studies.elastic.paired import Difference
from nestevo_hw.terminals.elastic.adapting import Adapted
from nestevo_hw.terminals.elastic.pool import Candidate, Pool
from nestevo_hw.terminals.elastic.selecting import Selected


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model on this device, exported as one file."""

    name: str
    seconds: float
    """Median time of a frame, measured."""
    accuracy: float
    behind: Difference
    """Accuracy of the chosen path less this one's."""


def save_curve(selected: Selected, pool: Pool, metric: str, path: Path) -> None:
    """Write the picture as a PNG file."""
    save_png(draw_curve(selected, pool, metric, LIGHT), path)


def draw_curve(
    selected: Selected, pool: Pool, metric: str, palette: Palette
) -> Figure:  # fmt: skip
    """All paths, the best for each time, and the budget."""
    figure = new_figure(7.2, 4.0, palette)
    axes = figure.subplots()
    dress(axes, palette, grid="both")
    front = frontier(pool)
    axes.scatter([1e3 * one.seconds for one in pool.candidates], [one.accuracy for one in pool.candidates],
                 s=9, color=palette.other, alpha=0.6, linewidths=0)  # fmt: skip
    axes.step([1e3 * one.seconds for one in front], [one.accuracy for one in front], where="post", color=palette.after)
    axes.axvline(1e3 * selected.budget_s, color=palette.muted, linestyle=":", linewidth=1.0)
    marks = [
        Mark(text="paths", colour="other", shape="dot"), Mark(text="the best so fast", colour="after", shape="line"),
        Mark(text="budget", colour="muted", shape="dotted"),
    ]  # fmt: skip
    for point, colour, name in ((selected.base, "teacher", "the base"), (selected.best, "after", "chosen")):
        axes.scatter([1e3 * point.seconds], [point.accuracy], s=40, color=colour_of(palette, colour), zorder=3)
        marks.append(Mark(text=name, colour=colour, shape="dot"))
    axes.set_xlabel("time of a frame, ms (paths predicted from measured blocks)")
    axes.set_ylabel(metric)
    legend(figure, marks, palette, columns=6)
    return figure


def frontier(pool: Pool) -> list[Candidate]:
    """Paths than which no faster one is as accurate, the fastest first."""
    found: list[Candidate] = []
    for one in sorted(pool.candidates, key=lambda one: (one.seconds, -one.accuracy)):
        if not found or one.accuracy > found[-1].accuracy:
            found.append(one)
    return found


def save_timeline(adapted: Adapted, path: Path) -> None:
    """Write the times of a run's frames with its changes of paths as a PNG file."""
    save_png(draw_timeline(adapted, LIGHT), path)


def draw_timeline(adapted: Adapted, palette: Palette) -> Figure:
    """Each frame's time, the budget, what burdened the processor, and where paths changed."""
    figure = new_figure(7.2, 3.2, palette)
    axes = figure.subplots()
    dress(axes, palette, grid="y")
    if adapted.burden is not None:
        axes.axvspan(*adapted.burden, color=palette.band, zorder=0)
    axes.scatter(range(len(adapted.seconds)), [1e3 * one for one in adapted.seconds], s=6, color=palette.other,
                 linewidths=0)  # fmt: skip
    axes.axhline(1e3 * adapted.budget_s, color=palette.muted, linestyle=":", linewidth=1.0)
    for change in adapted.changes:
        axes.axvline(change.frame, color=palette.after if change.fits else palette.alarm, linewidth=1.0)
    if max(adapted.seconds) > _OUTLYING * max(adapted.budget_s, median(adapted.seconds)):
        axes.set_yscale("log")  # a machine that stalled now and then would press all others onto the axis
    axes.set_xlabel("frame")
    axes.set_ylabel("time, ms (measured)")
    marks = [Mark(text=text, colour=colour, shape=shape) for text, colour, shape in _TIMELINE]
    legend(figure, marks, palette, columns=5)
    return figure


_OUTLYING = 10.0
"""How many times longer than usual a frame may take before times are shown as powers of ten."""
_TIMELINE: tuple[tuple[str, str, Literal["dot", "dotted", "bar", "line"]], ...] = (
    ("frame", "other", "dot"), ("budget", "muted", "dotted"), ("processor burdened", "band", "bar"),
    ("another path", "after", "line"), ("none fits", "alarm", "line"),
)  # fmt: skip


def save_comparison(points: Sequence[Point], metric: str, path: Path) -> None:
    """Write models side by side as a PNG file."""
    save_png(draw_comparison(points, metric, LIGHT), path)


def draw_comparison(points: Sequence[Point], metric: str, palette: Palette) -> Figure:
    """Accuracy against time of whole models; the first two are the base and the chosen path."""
    figure = new_figure(7.2, 3.6, palette)
    axes = figure.subplots()
    dress(axes, palette, grid="both")
    for number, point in enumerate(points):
        colour = ("teacher", "after")[number] if number < _NAMED else "alarm"
        axes.scatter([1e3 * point.seconds], [point.accuracy], s=40, color=colour_of(palette, colour), zorder=3)
        axes.annotate(point.name, (1e3 * point.seconds, point.accuracy), (6, -10), textcoords="offset points",
                      color=palette.muted, fontsize=SMALL)  # fmt: skip
    axes.margins(x=0.2, y=0.15)
    axes.set_xlabel("time of a frame, ms (measured, one file)")
    axes.set_ylabel(metric)
    return figure


_NAMED = 2
