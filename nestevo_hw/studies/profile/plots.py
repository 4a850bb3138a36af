"""Pictures of a profile: predicted against measured, errors of all methods, coverage of the intervals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from nestevo_hw.pages.style import SMALL, Palette, dress, legend, new_figure
from nestevo_hw.studies.profile.evaluation import THREE_LAYERS, Evaluation, Quantity

MARGIN = 1.5
"""Between the outermost point and the frame, as a factor."""
GROUPS = {"detector, one model": "after", "detectors, mutual": "teacher", "classifier": "before"}
"""Sorts of tasks and the roles of their colours."""


def scatter(found: Evaluation, quantity: Quantity, palette: Palette) -> Figure:
    """Predicted against measured on the samples left out, with 90 % intervals and lines of 10 % error."""
    figure = new_figure(4.6, 3.9, palette)
    axes = figure.subplots()
    unit = 1e-3 if quantity == "time" else 1e6
    truth, middle, low, high = (values / unit for values in _values(found, quantity))
    groups = [_group(s.spec.is_detector, s.spec.learning) for s in found.judged]
    ends = min(truth.min(), middle.min()) / MARGIN, max(truth.max(), middle.max()) * MARGIN
    axes.plot(ends, ends, color=palette.muted, lw=1.0, zorder=2)
    axes.fill_between(ends, [e * 0.9 for e in ends], [e * 1.1 for e in ends], color=palette.band, zorder=1)
    for name, role in GROUPS.items():
        rows = [i for i, group in enumerate(groups) if group == name]
        bars = np.stack([middle - low, high - middle])[:, rows]
        axes.errorbar(
            truth[rows], middle[rows], yerr=bars, fmt="o", ms=4.0, lw=0.9, color=getattr(palette, role),
            mec=palette.surface, mew=0.4, zorder=3,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0,) if ends[1] / ends[0] > 100 else (1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    what = "time of a step, ms" if quantity == "time" else "peak memory, MB"
    axes.set(xlabel=f"measured {what}", ylabel=f"predicted {what}")
    dress(axes, palette, grid="both")
    present = [name for name in GROUPS if name in groups]
    legend(figure, [Patch(color=getattr(palette, GROUPS[n]), label=n) for n in present], palette, columns=3)
    return figure


def error_bars(found: Evaluation, quantity: Quantity, palette: Palette) -> Figure:
    """Mean relative error of every method, the learned profile on top."""
    scores = sorted((s for s in found.scores if s.quantity == quantity), key=lambda s: s.mape)
    figure = new_figure(4.6, 0.9 + 0.42 * len(scores), palette)
    axes = figure.subplots()
    colours = [palette.after if s.method == THREE_LAYERS else palette.other for s in scores]
    axes.barh([s.method for s in scores], [s.mape for s in scores], color=colours, height=0.6)
    _write_values(axes, [s.mape for s in scores], palette)
    axes.set_xscale("log")
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlabel(f"mean relative error of {quantity}")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.xaxis.set_minor_formatter(NullFormatter())
    dress(axes, palette, grid="x")
    return figure


def _write_values(axes: Axes, values: Sequence[float], palette: Palette) -> None:
    axes.set_xlim(min(values) / 3, max(values) * 3)
    for row, value in enumerate(values):
        axes.text(value * 1.08, row, f"{value:.1%}", va="center", size=SMALL, color=palette.ink)


def _values(found: Evaluation, quantity: Quantity) -> tuple[np.ndarray, ...]:
    """Measured, predicted, lower and upper end, each (N,)."""
    if quantity == "time":
        rows = [
            (s.step_s, e.step_s, e.step_low_s, e.step_high_s)
            for s, e in zip(found.judged, found.predictions, strict=True)
        ]
    else:
        rows = [
            (s.memory_bytes, e.memory_bytes, e.memory_low_bytes, e.memory_high_bytes)
            for s, e in zip(found.judged, found.predictions, strict=True)
        ]
    return tuple(np.array(column, dtype=float) for column in zip(*rows, strict=True))


def _group(detector: bool, learning: str) -> str:
    if not detector:
        return "classifier"
    return "detectors, mutual" if learning == "mutual" else "detector, one model"
