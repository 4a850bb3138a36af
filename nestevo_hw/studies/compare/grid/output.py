"""The map of a grid as a table, a picture and a document."""

from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nestevo_hw.base.documents import write_json
from nestevo_hw.pages.formats import DASH, plus_minus, score, signed
from nestevo_hw.pages.style import LIGHT, SMALL, Mark, Palette, colour_of, dress, legend, new_figure, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.compare.grid.results import Finding, RegimeMap, RegimeRow
from nestevo_hw.studies.compare.plots import ROLES
from nestevo_hw.studies.compare.variants import TRUE_LABELS

_OTHERS = ("label", "generator", "mutual", "export")
"""Colour roles of variants that have none of their own."""
_WIDTH_IN, _ROW_IN, _HEAD = 8.4, 0.31, 0.9
"""Of the picture, of a row, and rows that the name of an axis takes."""


def write_map(found: RegimeMap, folder: Path) -> list[str]:
    """Write regime.json and regime.png; returns their names."""
    write_json(folder / "regime.json", found.document())
    save_png(draw_map(found, LIGHT), folder / "regime.png")
    return ["regime.json", "regime.png"]


def map_table(found: RegimeMap) -> Table:
    """Every row with the accuracy of what all are compared with, and what the others are above it."""
    rows = [
        (
            row.row.axis, _label(row), _level(row.findings.get(found.against)),
            *(_apart(row.findings.get(name)) for name in found.names),
        )
        for row in found.rows
    ]  # fmt: skip
    heads = ("what varies", "value", found.against, *(f"{name} minus it" for name in found.names))
    title = f"{found.metric} after evolving (measured; {found.teacher}), {_spread(found)}"
    return Table(heads=heads, rows=rows, title=title)


def draw_map(found: RegimeMap, palette: Palette) -> Figure:
    """Differences with their intervals, row by row; what true labels would add is a ring."""
    axes_count = len(list(groupby(found.rows, key=lambda row: row.row.axis)))
    figure = new_figure(_WIDTH_IN, 1.0 + _ROW_IN * (len(found.rows) + _HEAD * axes_count), palette)
    axes = figure.subplots()
    _rows(axes, found, palette)
    axes.axvline(0.0, color=palette.muted, lw=1.0, zorder=1)
    dress(axes, palette, grid="x")
    axes.set_xlabel(f"{found.metric} minus that of {found.against}, {_spread(found)}")
    marks = [
        Mark(text=name, colour=_role(found, name), shape="ring" if name == TRUE_LABELS else "dot")
        for name in found.names
    ]
    legend(figure, marks, palette, columns=4)
    return figure


def _rows(axes: Axes, found: RegimeMap, palette: Palette) -> None:
    ticks: list[tuple[float, str]] = []
    y = 0.0
    for axis, group in groupby(found.rows, key=lambda row: row.row.axis):
        axes.annotate(
            axis, (0.0, y), xycoords=axes.get_yaxis_transform(), xytext=(2, 0), textcoords="offset points",
            va="center", size=SMALL, weight="bold", color=palette.ink,
        )  # fmt: skip
        y += _HEAD
        for row in group:
            ticks.append((y, _label(row)))
            _row(axes, found, row, y, palette)
            y += 1.0
    axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.set_ylim(y - 0.4, -0.6)


def _row(axes: Axes, found: RegimeMap, row: RegimeRow, y: float, palette: Palette) -> None:
    names = [name for name in found.names if name in row.findings]
    step = 0.6 / max(len(names), 1)
    for place, name in enumerate(names):
        apart, colour = row.findings[name].apart, colour_of(palette, _role(found, name))
        level = y + (place - (len(names) - 1) / 2) * step
        face = palette.surface if name == TRUE_LABELS else colour
        if apart.ci95 is not None:
            axes.plot(apart.ci95, (level, level), color=colour, lw=1.3, zorder=3, solid_capstyle="butt")
        axes.plot(apart.mean, level, "o", ms=5, markerfacecolor=face, markeredgecolor=colour, zorder=4)
    axes.annotate(
        _level(row.findings.get(found.against)), (1.0, y), xycoords=axes.get_yaxis_transform(), xytext=(4, 0),
        textcoords="offset points", va="center", size=SMALL, color=palette.muted,
    )  # fmt: skip


def _spread(found: RegimeMap) -> str:
    """Over what the figures are."""
    if len(found.seeds) == 1:
        return "one seed: other seeds may well come out otherwise"
    return f"paired by seed, 95 % over {len(found.seeds)} seeds"


def _role(found: RegimeMap, name: str) -> str:
    others = [other for other in found.names if other not in ROLES]
    return ROLES[name] if name in ROLES else _OTHERS[others.index(name) % len(_OTHERS)]


def _label(row: RegimeRow) -> str:
    return f"{row.row.value} (base)" if row.is_base else row.row.value


def _level(finding: Finding | None) -> str:
    return DASH if finding is None else score(finding.after.mean)


def _apart(finding: Finding | None) -> str:
    return DASH if finding is None else plus_minus(signed(finding.apart.mean, 3), finding.apart.half)
