"""Where the time and the memory went: tasks by worker, parts of the delay, predictions."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from nestevo_hw.base.stats import mean
from nestevo_hw.pages.style import SMALL, Palette, dress, kind_colour, legend, new_figure
from nestevo_hw.report.events import Run
from nestevo_hw.report.records import SETUP, Lifecycle, TaskRun

MEASURED_PARTS = {"waiting": "generator", "training": "mutual"}
"""Parts of the delay that this machine measured, and their colours; the rest is modelled."""


def gantt(run: Run, palette: Palette) -> Figure:
    """Which worker did what when: one row a worker, one bar a task, coloured by kind."""
    tasks = [t for t in run.of(TaskRun) if math.isfinite(t.started_s) and math.isfinite(t.ended_s)]
    workers = sorted({_worker(t) for t in tasks})
    figure = new_figure(gantt_width_in(run), 1.15 + 0.34 * max(len(workers), 1), palette)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(t.kind for t in tasks))
    for row, worker in enumerate(workers):
        for kind in kinds:
            bars = [t for t in tasks if t.kind == kind and _worker(t) == worker]
            spans = [(t.started_s, max(t.ended_s - t.started_s, 0.0)) for t in bars]
            axes.broken_barh(
                spans,
                (row - 0.38, 0.76),
                facecolor=kind_colour(palette, kind),
                edgecolor=palette.surface,
                lw=0.6,
            )
    _mark_windows(axes, tasks, palette)
    axes.set_yticks(range(len(workers)), [f"worker {w}" if w >= 0 else "edge server" for w in workers])
    axes.set_ylim(len(workers) - 0.4, -0.6)
    axes.set_xlim(0.0, max((t.ended_s for t in tasks), default=1.0) * 1.01)
    axes.set_xlabel("seconds since the start of the run")
    dress(axes, palette, grid="x")
    legend(figure, [Patch(facecolor=kind_colour(palette, k), label=k) for k in kinds], palette, columns=12)
    return figure


def gantt_width_in(run: Run) -> float:
    """Width of the Gantt chart, inches: room for every window."""
    return min(max(9.6, 2.4 * run.windows), 48.0)


def delay_parts(run: Run, palette: Palette) -> Figure:
    """Mean evolution delay of each terminal by its parts (eq. 8)."""
    lives = run.of(Lifecycle)
    names = [n for n in run.terminals if any(life.terminal == n for life in lives)]
    parts = list(dict.fromkeys(part for life in lives for part in life.parts))
    figure = new_figure(4.1, max(3.3, 1.4 + 0.3 * len(names)), palette)
    axes = figure.subplots()
    left = [0.0] * len(names)
    for part in parts:
        widths = [mean(life.parts.get(part, math.nan) for life in lives if life.terminal == n) for n in names]
        widths = [w if math.isfinite(w) else 0.0 for w in widths]
        axes.barh(names, widths, left=left, height=0.55, color=_part_colour(palette, part), label=part_name(part))
        left = [a + w for a, w in zip(left, widths, strict=True)]
    axes.set_ylim(max(len(names), 3) - 0.4, -0.6)
    axes.set_xlabel("mean seconds per window")
    dress(axes, palette, grid="x")
    legend(figure, [Patch(color=_part_colour(palette, p), label=part_name(p)) for p in parts], palette, columns=2)
    return figure


def part_name(part: str) -> str:
    """A part of the delay in words, with its honest label: links are modelled, work is measured."""
    word = part.removesuffix("_s").replace("_", " ")
    return f"{word} ({'measured' if word in MEASURED_PARTS else 'modelled'})"


def prediction_scatter(run: Run, palette: Palette, *, memory: bool) -> Figure:
    """Predicted against measured time (or peak memory) of every task, on logarithmic axes."""
    figure = new_figure(4.1, 3.3, palette)
    axes = figure.subplots()
    points = predictions(run, memory=memory)
    if points:
        _draw_diagonal(axes, points, palette)
    kinds = list(dict.fromkeys(kind for kind, _, _ in points))
    for kind in kinds:
        own = [(p, a) for k, p, a in points if k == kind]
        axes.scatter(
            [p for p, _ in own], [a for _, a in own], s=22, color=kind_colour(palette, kind),
            edgecolor=palette.surface, linewidth=0.5, zorder=3,
        )  # fmt: skip
    what = "peak memory, MB" if memory else "time, s"
    axes.set(xlabel=f"predicted {what}", ylabel=f"measured {what}")
    dress(axes, palette, grid="both")
    legend(figure, [Patch(color=kind_colour(palette, k), label=k) for k in kinds], palette, columns=3)
    return figure


def predictions(run: Run, *, memory: bool) -> list[tuple[str, float, float]]:
    """Kind, predicted and measured value of every task that has both: seconds, or megabytes of its peak."""
    found = [
        (t.kind, t.predicted_bytes / 1e6, t.peak_bytes / 1e6)
        if memory
        else (t.kind, t.predicted_s, t.ended_s - t.started_s)
        for t in run.of(TaskRun)
    ]
    return [(k, p, a) for k, p, a in found if 0 < p < math.inf and 0 < a < math.inf]


def mean_relative_error(points: Sequence[tuple[str, float, float]]) -> float:
    """Mean of |predicted - measured| / measured; NaN without points."""
    return mean(abs(p - a) / a for _, p, a in points)


def _draw_diagonal(axes: Axes, points: Sequence[tuple[str, float, float]], palette: Palette) -> None:
    low = min(min(p, a) for _, p, a in points) / 1.5
    high = max(max(p, a) for _, p, a in points) * 1.5
    axes.plot((low, high), (low, high), color=palette.muted, lw=1.0)
    axes.fill_between((low, high), (low / 1.25, high / 1.25), (low * 1.25, high * 1.25), color=palette.band)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        # A range within one decade has no major tick of its own: label a few minor ones instead.
        axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _part_colour(palette: Palette, part: str) -> str:
    return str(getattr(palette, MEASURED_PARTS.get(part.removesuffix("_s"), "export" if "down" in part else "upload")))


def _worker(task: TaskRun) -> int:
    """Worker of a task; -1 for the edge server's own process."""
    return -1 if task.worker is None else task.worker


def _mark_windows(axes: Axes, tasks: Sequence[TaskRun], palette: Palette) -> None:
    for window in sorted({t.window for t in tasks}):
        start = min(t.started_s for t in tasks if t.window == window)
        axes.axvline(start, color=palette.muted, lw=0.8, ls=(0, (2, 2)), zorder=0)
        name = " setup" if window == SETUP else f" window {window}"
        above = axes.get_xaxis_transform()
        axes.text(start, 1.0, name, transform=above, size=SMALL, color=palette.muted, va="bottom")
