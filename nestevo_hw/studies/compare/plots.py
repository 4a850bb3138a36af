"""Pictures of a comparison; each takes its palette, so that the page can follow the reader's theme."""

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nestevo_hw.base.stats import Estimate
from nestevo_hw.pages.formats import score
from nestevo_hw.pages.style import SMALL, Palette, colour_of, dress, name_rows, new_figure
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.goals import GAP_CLOSED
from nestevo_hw.studies.compare.results import UNCHANGED, Comparison
from nestevo_hw.studies.compare.variants import (
    A1,
    A2,
    A3,
    A4,
    A4_CONFIRMED,
    ADA_BN,
    MODEL_REUSE,
    NAIVE_AVERAGE,
    NESTEVO,
    SELF_TRAINING,
    TENT,
    TERMINALS_ONLY,
    TRUE_LABELS,
)

ROLES = {
    NESTEVO: "after", A1: "aggregate", A2: "mutual", A3: "other", A4: "before", A4_CONFIRMED: "distil",
    TERMINALS_ONLY: "program", ADA_BN: "export", TENT: "sense", SELF_TRAINING: "generator", TRUE_LABELS: "muted",
    MODEL_REUSE: "choose", NAIVE_AVERAGE: "alarm",
}  # fmt: skip
"""Colour role of each method; ablations share one."""
PANEL_IN = (5.2, 3.3)
"""Width and height of a panel, inches."""
_WIDEST = 1.0
"""Intervals of the gap are drawn up to this far beyond 0 and 1."""


def draw_methods(found: Comparison, palette: Palette) -> Figure:
    """Terminals' mean accuracy after evolving, one bar a method."""
    return _panel(palette, lambda axes: _bars(axes, found, palette), rows=len(_methods(found)))


def draw_gap(found: Comparison, palette: Palette) -> Figure:
    """Share of the room between A4 and true labels that each method fills, by kind of drift."""
    return _panel(palette, lambda axes: _gap(axes, found, palette), rows=len(found.kinds))


def draw_paired(found: Comparison, palette: Palette, other: str = A4) -> Figure:
    """Each method minus another: dots are seeds, bars the mean with its interval."""
    names = _comparable(found, other)
    return _panel(palette, lambda axes: _against(axes, found, palette, names, other), rows=len(names))


def draw_kinds(found: Comparison, palette: Palette) -> Figure:
    """NestEvo minus A4 under each kind of drift: dots are seeds, bars the mean with its interval."""

    def draw(axes: Axes) -> None:
        series = {kind: measures.difference_by_seed(found, NESTEVO, A4, where) for kind, where in found.kinds.items()}
        _paired(axes, series, palette, [colour_of(palette, ROLES[NESTEVO])] * len(series))
        axes.set_xlabel(f"{found.metric}, {NESTEVO} minus {A4}; dots: seeds")

    return _panel(palette, draw, rows=len(found.kinds))


def draw_ablations(found: Comparison, palette: Palette) -> Figure:
    """NestEvo with one part changed, minus NestEvo."""
    names = ablation_names(found)
    return _panel(palette, lambda axes: _against(axes, found, palette, names, NESTEVO), rows=len(names))


def draw_overview(found: Comparison, palette: Palette) -> Figure:
    """All panels that the runs allow, side by side."""
    panels: list[tuple[str, Callable[[Axes], None]]] = [
        ("terminals after evolving", lambda axes: _bars(axes, found, palette))
    ]
    if has_gap(found):
        panels.append(("supervision gap closed", lambda axes: _gap(axes, found, palette)))
    if found.has(A4):
        names = _comparable(found, A4)
        panels.append(("against A4, paired by seed", lambda axes: _against(axes, found, palette, names, A4)))
    figure = new_figure(PANEL_IN[0] * len(panels), 1.5 + 0.36 * max(5, len(_methods(found))), palette)
    for axes, (title, draw) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes)
        axes.set_title(title, loc="left", size=SMALL + 2, color=palette.ink)
    return figure


def has_gap(found: Comparison) -> bool:
    """Whether the gap can be shown: A4, true labels and something between them."""
    return found.has(A4, TRUE_LABELS) and bool(_between(found))


def ablation_names(found: Comparison) -> list[str]:
    """Variants to compare with NestEvo in the picture of ablations: it with one part changed, no other method."""
    names = [v.name for v in found.variants if v.ablation and v.changes["method"] == NESTEVO]
    return [*([A2] if names and found.has(A2) else []), *names] if found.has(NESTEVO) else []


def _methods(found: Comparison) -> list[str]:
    return [v.name for v in found.variants if not v.ablation]


def _comparable(found: Comparison, other: str) -> list[str]:
    """Methods whose difference to another fits one scale; a plain average may lose everything."""
    return [name for name in _methods(found) if name not in (other, NAIVE_AVERAGE)]


def _between(found: Comparison) -> list[str]:
    return [name for name in _methods(found) if name not in (A3, A4, TRUE_LABELS, NAIVE_AVERAGE)]


def _panel(palette: Palette, draw: Callable[[Axes], None], *, rows: int) -> Figure:
    figure = new_figure(PANEL_IN[0], max(PANEL_IN[1], 1.1 + 0.36 * rows), palette)
    draw(figure.subplots())
    return figure


def _bars(axes: Axes, found: Comparison, palette: Palette) -> None:
    names = _methods(found)
    for row, name in enumerate(names):
        after, before = measures.after(found, name), measures.before(found, name)
        axes.barh(row, after.mean, height=0.62, color=colour_of(palette, ROLES.get(name, "label")), zorder=2)
        inside = before.mean < after.mean
        line = palette.surface if inside else palette.ink
        axes.plot([before.mean] * 2, [row - 0.31, row + 0.31], color=line, lw=2.0, zorder=3)
        _whisker(axes, row, after, palette.ink)
        axes.annotate(
            score(after.mean), (max(after.mean, after.ci95[1] if after.ci95 else 0.0), row), xytext=(4, 0),
            textcoords="offset points", va="center", size=SMALL, color=palette.ink,
        )  # fmt: skip
    dress(axes, palette, grid="x")
    axes.set_xlim(0.0, min(1.15, max(_ends(found, names)) * 1.14))
    axes.set_xlabel(f"{found.metric}; line: before evolving")
    name_rows(axes, names)


def _gap(axes: Axes, found: Comparison, palette: Palette) -> None:
    groups = {"all": found.terminal_windows, **{k: c for k, c in found.kinds.items() if k != UNCHANGED}}
    names = _between(found)
    step = 0.7 / max(len(names), 1)
    for row, where in enumerate(groups.values()):
        for place, name in enumerate(names):
            estimate = measures.gap_closed(found, name, where)
            if estimate.known:
                y = row + (place - (len(names) - 1) / 2) * step
                colour = colour_of(palette, ROLES.get(name, "label"))
                axes.plot(_clipped(estimate.mean), y, "o", ms=6, color=colour, zorder=4)
                _whisker(axes, y, estimate, colour)
    for x, text in ((0.0, "A4"), (1.0, "true labels")):
        axes.axvline(x, color=palette.muted, lw=1.0, zorder=1)
        axes.annotate(text, (x, 1.0), xycoords=axes.get_xaxis_transform(), xytext=(3, -2), va="top",
                      textcoords="offset points", size=SMALL, color=palette.muted)  # fmt: skip
    axes.axvline(GAP_CLOSED, color=palette.alarm, lw=1.0, ls=(0, (4, 2)), zorder=1)
    dress(axes, palette, grid="x")
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -_WIDEST), min(max(high, 1.3), 1 + _WIDEST))
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.set_xlabel("(method - A4) / (true labels - A4); dashed: the goal")
    name_rows(axes, list(groups), top=-0.85)


def _against(axes: Axes, found: Comparison, palette: Palette, names: Sequence[str], other: str) -> None:
    series = {name: measures.difference_by_seed(found, name, other) for name in names}
    _paired(axes, series, palette, [colour_of(palette, ROLES.get(name, "label")) for name in names])
    axes.set_xlabel(f"{found.metric} minus that of {other}; dots: seeds")


def _paired(axes: Axes, series: Mapping[str, list[float]], palette: Palette, colours: Sequence[str]) -> None:
    for row, (differences, colour) in enumerate(zip(series.values(), colours, strict=True)):
        estimate = Estimate.of(differences)
        axes.scatter(differences, [row] * len(differences), s=22, color=colour, alpha=0.45, lw=0, zorder=3)
        axes.plot([estimate.mean] * 2, [row - 0.22, row + 0.22], color=colour, lw=2.4, zorder=4)
        _whisker(axes, row, estimate, palette.ink)
    axes.axvline(0.0, color=palette.muted, lw=1.0, zorder=1)
    dress(axes, palette, grid="x")
    name_rows(axes, list(series))


def _whisker(axes: Axes, y: float, estimate: Estimate, colour: str) -> None:
    if estimate.ci95 is not None:
        axes.plot(estimate.ci95, (y, y), color=colour, lw=1.4, solid_capstyle="butt", zorder=5)


def _ends(found: Comparison, names: Sequence[str]) -> list[float]:
    estimates = [measures.after(found, name) for name in names]
    ends = [e.ci95[1] if e.ci95 else e.mean for e in estimates]
    return [e for e in ends if math.isfinite(e)] or [1.0]


def _clipped(value: float) -> float:
    return min(max(value, -_WIDEST), 1 + _WIDEST)
