"""The picture of a search: accuracy against latency of all paths that were evaluated."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from nestevo_hw.pages.style import LIGHT, Mark, Palette, colour_of, dress, legend, new_figure, save_png
from nestevo_hw.studies.elastic.against import Point
from nestevo_hw.terminals.elastic.pool import Candidate, Pool
from nestevo_hw.terminals.elastic.selecting import Selected


def save_curve(selected: Selected, pool: Pool, metric: str, against: Sequence[Point], path: Path) -> None:
    """Write the picture as a PNG file."""
    save_png(draw_curve(selected, pool, metric, against, LIGHT), path)


def draw_curve(
    selected: Selected, pool: Pool, metric: str, against: Sequence[Point], palette: Palette
) -> Figure:  # fmt: skip
    """All paths, the best for each time, the budget, and models to compare with."""
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
    if against:
        axes.scatter([1e3 * one.seconds for one in against], [one.accuracy for one in against],
                     s=36, color=palette.alarm, zorder=3)  # fmt: skip
        marks.append(Mark(text="pruned as a whole", colour="alarm", shape="dot"))
    axes.set_xlabel("time of a frame, ms (paths predicted from measured blocks)")
    axes.set_ylabel(metric)
    legend(figure, marks, palette, columns=6)
    return figure


def frontier(pool: Pool) -> list[Candidate]:
    """Paths than which no faster one is as accurate, the fastest first."""
    found: list[Candidate] = []
    for one in pool.candidates:
        if not found or one.accuracy > found[-1].accuracy:
            found.append(one)
    return found
