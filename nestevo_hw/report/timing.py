"""Where the time and the memory went: tasks by worker, parts of the delay, predictions."""

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nestevo_hw.base.stats import mean
from nestevo_hw.pages.formats import counted
from nestevo_hw.pages.style import (
    ROLES,
    SMALL,
    Mark,
    Palette,
    colour_of,
    compare_on_logarithms,
    dress,
    legend,
    name_rows,
    new_figure,
)
from nestevo_hw.report.events import Run
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.terminal import Lifecycle
from nestevo_hw.report.records.work import TaskRun
from nestevo_hw.report.summary import part_origins
from nestevo_hw.report.wording import memory_name, part_name

GUESSES = "Left out: {}, of kinds of task that nothing was known of yet."
"""Said where there are such, with their number."""
BAND = (1 / 1.25, 1 / 0.75)
"""Where a measured value lies, as a factor of the predicted one, that was predicted 25 % off at most."""
_LETTER_IN, _ROW_NAMES_IN = 0.085, 0.9
"""Width of a small letter, and of the names beside the rows of a Gantt chart, inches."""
_PART_COLOURS = {
    "communication_s": "upload",
    "labelling_s": "label",
    "programming_s": "program",
    "waiting_s": "generator",
    "training_s": "mutual",
}


def timed(run: Run) -> list[TaskRun]:
    """Tasks that have begun and ended."""
    return [t for t in run.of(TaskRun) if math.isfinite(t.started_s) and math.isfinite(t.ended_s)]


def kind_marks(run: Run, kinds: Iterable[str]) -> list[Mark]:
    """What the colours of kinds of task mean, by the run's header; kinds that look and read alike share a mark."""
    shown = (run.kind(name) for name in kinds)
    return list(dict.fromkeys(Mark(text=k.wording, colour=k.colour if k.colour in ROLES else "other") for k in shown))


def gantt(run: Run, palette: Palette) -> Figure:
    """Which worker did what when: one row a worker, one bar a task, coloured by kind."""
    tasks = timed(run)
    workers, kinds = sorted({_worker(t) for t in tasks}), list(dict.fromkeys(t.kind for t in tasks))
    figure = new_figure(gantt_width_in(run), 0.9 + 0.34 * max(len(workers), 1), palette)
    axes = figure.subplots()
    for row, worker in enumerate(workers):
        for kind in kinds:
            bars = [t for t in tasks if t.kind == kind and _worker(t) == worker]
            spans = [(t.started_s, max(t.ended_s - t.started_s, 0.0)) for t in bars]
            colour = colour_of(palette, run.kind(kind).colour)
            axes.broken_barh(spans, (row - 0.38, 0.76), facecolor=colour, edgecolor=palette.surface, lw=0.6)
    _mark_windows(axes, tasks, palette, figure.get_figwidth())
    name_rows(axes, [f"worker {w}" if w >= 0 else "edge server" for w in workers])
    first, last = min((t.started_s for t in tasks), default=0.0), max((t.ended_s for t in tasks), default=1.0)
    axes.set_xlim(first, last + 0.01 * (last - first))
    axes.set_xlabel("seconds since the start of the run")
    dress(axes, palette, grid="x")
    legend(figure, kind_marks(run, kinds), palette, columns=2)
    return figure


def gantt_width_in(run: Run) -> float:
    """Width of the Gantt chart, inches: room for every window."""
    return min(max(9.6, 2.4 * run.windows), 48.0)


def delay_parts(run: Run, palette: Palette) -> Figure:
    """Mean evolution delay of each terminal by its parts (eq. 8)."""
    lives = run.of(Lifecycle)
    names = [n for n in run.terminals if any(life.terminal == n for life in lives)]
    figure = new_figure(4.1, max(2.6, 1.0 + 0.3 * len(names)), palette)
    axes = figure.subplots()
    left = [0.0] * len(names)
    for part in part_origins(run):
        widths = [mean(life.parts.get(part, math.nan) for life in lives if life.terminal == n) for n in names]
        widths = [w if math.isfinite(w) else 0.0 for w in widths]
        colour = colour_of(palette, _PART_COLOURS.get(part, "other"))
        axes.barh(range(len(names)), widths, left=left, height=0.55, color=colour)
        left = [a + w for a, w in zip(left, widths, strict=True)]
    name_rows(axes, names, least=3)
    axes.set_xlabel("mean seconds per window")
    dress(axes, palette, grid="x")
    legend(figure, part_marks(run), palette, columns=1)
    return figure


def part_marks(run: Run) -> list[Mark]:
    """Parts of the evolution delay, each named with where the record says that it comes from."""
    return [
        Mark(text=part_name(part, origin), colour=_PART_COLOURS.get(part, "other"))
        for part, origin in part_origins(run).items()
    ]


def prediction_scatter(run: Run, palette: Palette, *, memory: bool) -> Figure:
    """Predicted against measured time (or peak memory) of every task, on logarithmic axes."""
    points = predictions(run, memory=memory)
    kinds = list(dict.fromkeys(kind for kind, _, _ in points))
    figure = new_figure(4.1, 3.1, palette)
    axes = figure.subplots()
    if points:
        low, high = min(min(p, a) for _, p, a in points) / 1.5, max(max(p, a) for _, p, a in points) * 1.5
        compare_on_logarithms(axes, (low, high), palette, band=BAND)
    for kind in kinds:
        own = [(p, a) for k, p, a in points if k == kind]
        axes.scatter(
            [p for p, _ in own], [a for _, a in own], s=22, color=colour_of(palette, run.kind(kind).colour),
            edgecolor=palette.surface, linewidth=0.5, zorder=3,
        )  # fmt: skip
    what = f"peak {memory_name(run)}, MB" if memory else "time, s"
    axes.set(xlabel=f"predicted {what}", ylabel=f"measured {what}")
    dress(axes, palette, grid="both")
    legend(figure, kind_marks(run, kinds), palette, columns=1)
    return figure


def predictions(run: Run, *, memory: bool) -> list[tuple[str, float, float]]:
    """Kind, predicted and measured value of every task that has both: seconds, or megabytes of its peak.

    First guesses, of kinds of task nothing was known of yet, are left out.
    """
    found = [
        (t.kind, t.predicted_bytes / 1e6, t.held_bytes / 1e6)
        if memory
        else (t.kind, t.predicted_s, t.ended_s - t.started_s)
        for t in run.of(TaskRun)
        if not t.guessed
    ]
    return [(k, p, a) for k, p, a in found if 0 < p < math.inf and 0 < a < math.inf]


def typical_factor(points: Sequence[tuple[str, float, float]]) -> float:
    """The factor by which predictions are off, either way: exp of the root mean square of ln(measured / predicted).

    Returns:
        1 where all are right; NaN without points.
    """
    return math.exp(math.sqrt(mean(math.log(a / p) ** 2 for _, p, a in points)))


def error_text(run: Run, *, memory: bool) -> str:
    """By which factor the predictions were typically off; empty where there are none."""
    points = predictions(run, memory=memory)
    if not points:
        return ""
    text = f"Off by a factor of {typical_factor(points):.2f}, typically, over {counted(len(points), 'task')}."
    guessed = sum(t.guessed for t in run.of(TaskRun))
    return f"{text} {GUESSES.format(counted(guessed, 'first guess', 'first guesses'))}" if guessed else text


def _worker(task: TaskRun) -> int:
    """Worker of a task; -1 for the edge server's own process."""
    return -1 if task.worker is None else task.worker


def _mark_windows(axes: Axes, tasks: Sequence[TaskRun], palette: Palette, width_in: float) -> None:
    """Name each window above its first task, where its name has room."""
    starts = {w: min(t.started_s for t in tasks if t.window == w) for w in sorted({t.window for t in tasks})}
    end_s = max((t.ended_s for t in tasks), default=0.0)
    letter_s = end_s * _LETTER_IN / (width_in - _ROW_NAMES_IN)
    for (window, start), following in zip(starts.items(), [*list(starts.values())[1:], end_s], strict=False):
        axes.axvline(start, color=palette.muted, lw=0.8, ls=(0, (2, 2)), zorder=0)
        name = " setup" if window == SETUP else f" window {window}"
        if following - start > len(name) * letter_s:
            above = axes.get_xaxis_transform()
            axes.text(start, 1.0, name, transform=above, size=SMALL, color=palette.muted, va="bottom")
