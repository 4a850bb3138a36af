"""Pictures of a profile: predicted against measured, errors of all methods, coverage of the intervals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from nestevo_hw.pages.style import (
    SMALL,
    Mark,
    Palette,
    compare_on_logarithms,
    dress,
    legend,
    name_rows,
    new_figure,
)
from nestevo_hw.studies.profile.evaluation import THREE_LAYERS, Evaluation, Quantity

MARGIN = 1.5
"""Between the outermost point and the frame, as a factor."""
GROUPS = {"detector, one model": "after", "detectors, mutual": "teacher", "classifier": "before"}
"""Sorts of tasks and their colours."""


def scatter_marks(found: Evaluation) -> list[Mark]:
    """Sorts of tasks among the samples."""
    present = {_group(s.spec.is_detector, s.spec.learning) for s in found.judged}
    return [Mark(text=name, colour=colour) for name, colour in GROUPS.items() if name in present]


def scatter(found: Evaluation, quantity: Quantity, palette: Palette) -> Figure:
    """Predicted against measured on the samples left out, with 90 % intervals and a band of 10 % error."""
    figure = new_figure(4.6, 3.9, palette)
    axes = figure.subplots()
    unit = 1e-3 if quantity == "time" else 1e6
    truth, middle, low, high = (values / unit for values in _values(found, quantity))
    groups = [_group(s.spec.is_detector, s.spec.learning) for s in found.judged]
    ends = min(truth.min(), middle.min()) / MARGIN, max(truth.max(), middle.max()) * MARGIN
    compare_on_logarithms(axes, ends, palette, band=(0.9, 1.1))
    for name, role in GROUPS.items():
        rows = [i for i, group in enumerate(groups) if group == name]
        bars = np.stack([middle - low, high - middle])[:, rows]
        axes.errorbar(
            truth[rows], middle[rows], yerr=bars, fmt="o", ms=4.0, lw=0.9, color=getattr(palette, role),
            mec=palette.surface, mew=0.4, zorder=3,
        )  # fmt: skip
    what = "time of a step, ms" if quantity == "time" else "peak memory, MB"
    axes.set(xlabel=f"measured {what}", ylabel=f"predicted {what}")
    dress(axes, palette, grid="both")
    legend(figure, scatter_marks(found), palette, columns=3)
    return figure


def error_bars(found: Evaluation, quantity: Quantity, palette: Palette) -> Figure:
    """Mean relative error of every method, the learned profile on top."""
    scores = sorted((s for s in found.scores if s.quantity == quantity), key=lambda s: s.mape)
    figure = new_figure(4.6, 0.9 + 0.42 * len(scores), palette)
    axes = figure.subplots()
    colours = [palette.after if s.method == THREE_LAYERS else palette.other for s in scores]
    axes.barh(range(len(scores)), [s.mape for s in scores], color=colours, height=0.6)
    name_rows(axes, [s.method for s in scores])
    _write_values(axes, [s.mape for s in scores], palette)
    axes.set_xscale("log")
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
