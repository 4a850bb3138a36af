"""The picture of a reproduction: ours beside the paper's, a panel an item."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from nestevo_hw.base.stats import Estimate
from nestevo_hw.pages.style import SMALL, Mark, Palette, colour_of, dress, legend, name_rows, new_figure
from nestevo_hw.studies.reproduce.item import Row, Unit
from nestevo_hw.studies.reproduce.results import Found, Reproduction

MARKS = (
    Mark(text="ours, with the 95 % interval over seeds where there are several", colour="after", shape="dot"),
    Mark(text="paper", colour="before", shape="ring"),
)
_UNITS: dict[Unit, str] = {
    "score": "score, 0 to 1", "share": "relative change", "s": "seconds", "ms": "milliseconds",
    "GB": "GB", "GFLOP": "GFLOP", "nats": "nats", "number": "",
}  # fmt: skip
_LOGARITHMIC = ("s", "ms", "GFLOP", "nats", "GB")
_ROW_IN, _WIDTH_IN = 0.2, 6.4
_Shown = list[tuple[Row, Estimate]]


def pictured(found: Found) -> _Shown:
    """Figures of an item that share one axis: those of the first one's unit."""
    rows = found.rows
    return [(row, estimate) for row, estimate in rows if row.unit == rows[0][0].unit]


def draw_item(found: Found, palette: Palette) -> Figure:
    """One item."""
    rows = pictured(found)
    figure = new_figure(_WIDTH_IN, 0.7 + _ROW_IN * len(rows), palette)
    _draw(figure.subplots(), rows, palette)
    return figure


def draw_all(found: Reproduction, palette: Palette) -> Figure:
    """All items that have figures, in two columns of about one height."""
    panels = [each for each in found.found if each.rows]
    heights = [0.9 + _ROW_IN * len(pictured(each)) for each in panels]
    columns: tuple[list[int], list[int]] = [], []
    half, filled = sum(heights) / 2, 0.0
    for number, height in enumerate(heights):
        columns[len(panels) > 1 and filled + height / 2 > half].append(number)
        filled += height
    used = [column for column in columns if column]
    tall = max(sum(heights[k] for k in column) for column in used)
    figure = new_figure(_WIDTH_IN * len(used), tall, palette)
    for place, column in zip(figure.subfigures(1, len(used), squeeze=False)[0], used, strict=True):
        place.set_facecolor(palette.surface)
        axes = place.subplots(len(column), 1, squeeze=False, height_ratios=[heights[k] for k in column])
        for number, one in zip(column, axes[:, 0], strict=True):
            each = panels[number]
            _draw(one, pictured(each), palette)
            title = f"{each.item.heading}: {each.item.title} ({each.item.origin})"
            one.set_title(title, loc="right", size=SMALL, color=palette.ink)
    legend(figure, MARKS, palette, columns=2)
    return figure


def _draw(axes: Axes, rows: _Shown, palette: Palette) -> None:
    ours, papers = colour_of(palette, "after"), colour_of(palette, "before")
    for place, (row, estimate) in enumerate(rows):
        if estimate.ci95 is not None:
            axes.plot(estimate.ci95, (place, place), color=ours, lw=1.4, zorder=3, solid_capstyle="butt")
        if estimate.known:
            axes.plot(estimate.mean, place, "o", ms=4.5, color=ours, zorder=4)
        if row.paper is not None:
            axes.plot(row.paper, place, "o", ms=5.5, markerfacecolor="none", markeredgecolor=papers, zorder=5)
    name_rows(axes, [row.name for row, _ in rows])
    unit = rows[0][0].unit
    if unit in _LOGARITHMIC and _least(rows) > 0.0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(_UNITS[unit])
    dress(axes, palette, grid="x")


def _least(rows: _Shown) -> float:
    """The smallest figure that is drawn."""
    ours = [estimate.ci95[0] if estimate.ci95 else estimate.mean for _, estimate in rows if estimate.known]
    return min((*ours, *(row.paper for row, _ in rows if row.paper is not None)), default=math.nan)
