"""Accuracy and drift over the windows; each figure takes the run and a palette and changes neither."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nestevo_hw.pages.style import SMALL, Mark, Palette, colour_of, dress, new_figure
from nestevo_hw.report.events import Run, terminal_configs
from nestevo_hw.report.records.teacher import Drift
from nestevo_hw.report.records.terminal import TEACHER, Accuracy
from nestevo_hw.report.summary import Evolution, evolutions

BEFORE_X, ADAPTED_X, AFTER_X = 0.22, 0.36, 0.78
"""Where in its window a model is scored, as drawn: conditions change, it fails, it evolves, it recovers."""
PANEL_IN = (4.1, 2.9)
"""Width and height of a panel, inches; the page shows three side by side."""
STAGES = {
    "before": Mark(text="old model", colour="before", shape="dot"),
    "adapted": Mark(text="old model with the new frames' BatchNorm statistics", colour="export", shape="dot"),
    "after": Mark(text="evolved model", colour="after", shape="dot"),
    "onnx": Mark(text="evolved model in ONNX Runtime", colour="ink", shape="ring"),
}
"""Stages of a model, and how each is drawn."""
DRIFT_MARKS = (
    Mark(text="drifted", colour="before"),
    Mark(text="not drifted", colour="other"),
    Mark(text="drift threshold", colour="alarm", shape="line"),
)
_MANY_WINDOWS = 12
"""From here on markers shrink and only some windows are labelled."""


def stage_marks(shown: Sequence[Evolution], colour: str = "after") -> list[Mark]:
    """Marks of the stages that were scored at all; `colour` is that of the evolved model."""
    scored = [stage for stage in STAGES if any(math.isfinite(getattr(e, stage)) for e in shown)]
    return [replace(STAGES[stage], colour=colour) if stage == "after" else STAGES[stage] for stage in scored]


def draw_evolutions(axes: Axes, measured: Sequence[Evolution], palette: Palette, colour: str) -> None:
    """One model's accuracy over the windows: solid where it evolves, dotted from one window to the next."""
    size = 6.0 if len(measured) <= _MANY_WINDOWS else 3.5
    for e in measured:
        stops = ((BEFORE_X, e.before), (ADAPTED_X, e.adapted), (AFTER_X, e.after))
        way = [(e.window + shift, score) for shift, score in stops if math.isfinite(score)]
        axes.plot([x for x, _ in way], [y for _, y in way], color=colour, lw=2.0, zorder=3)
    for e, following in itertools.pairwise(measured):
        x = (e.window + (AFTER_X if math.isfinite(e.after) else BEFORE_X), following.window + BEFORE_X)
        y = (e.after if math.isfinite(e.after) else e.before, following.before)
        axes.plot(x, y, color=palette.muted, lw=1.0, ls=(0, (1, 2)), zorder=2)
    for stage, shift in (("before", BEFORE_X), ("adapted", ADAPTED_X), ("after", AFTER_X), ("onnx", AFTER_X)):
        ring, own = stage == "onnx", colour if stage == "after" else colour_of(palette, STAGES[stage].colour)
        axes.scatter(
            [e.window + shift for e in measured], [getattr(e, stage) for e in measured],
            s=(size * (1.75 if ring else 1.0)) ** 2, facecolor="none" if ring else own,
            edgecolor=own if ring else palette.surface, linewidth=1.0, zorder=4,
        )  # fmt: skip


def draw_conditions(axes: Axes, run: Run, terminal: str, palette: Palette, windows: int) -> None:
    """Shade and name the stretches in which a terminal's drift script changes its conditions."""
    script = next((t.get("drift") for t in terminal_configs(run.header.config) if t["name"] == terminal), None)
    steps = [s for s in script or () if isinstance(s, dict) and s.get("window", windows) < windows]
    steps.sort(key=lambda s: s["window"])
    ends = [*(s["window"] for s in steps[1:]), windows][: len(steps)]
    for step, until in zip(steps, ends, strict=True):
        start, strength = max(step["window"], 0), step.get("strength")
        if until <= start:
            continue
        axes.axvspan(start, until, color=palette.band, lw=0, zorder=0)
        axes.axvline(start, color=palette.grid, lw=1.0, zorder=1)
        if (until - start) / windows > 0.12:
            name = f"{step.get('kind', '?')}" + (f" {strength:g}" if isinstance(strength, int | float) else "")
            axes.text(
                start + 0.02 * windows, 0.985, name, transform=axes.get_xaxis_transform(), va="top",
                color=palette.muted, size=SMALL, style="italic",
            )  # fmt: skip


def terminal_panel(run: Run, terminal: str, palette: Palette, limits: tuple[float, float]) -> Figure:
    """Accuracy of one terminal over the windows, and below it its drift score, each where it was measured."""
    figure = new_figure(*PANEL_IN, palette)
    scores = [d for d in run.of(Drift) if d.terminal == terminal]
    measured = evolutions(run, terminal, scene=terminal)
    windows = max(run.windows, 1)
    if not has_scores(run):
        axes = figure.subplots()
        _draw_drift(axes, scores, palette)
        dress(axes, palette)
        draw_window_axis(axes, windows)
        return figure
    if scores:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
        _draw_drift(lower, scores, palette)
        dress(lower, palette)
    else:
        upper = lower = figure.subplots()
    draw_conditions(upper, run, terminal, palette, windows)
    draw_evolutions(upper, measured, palette, palette.after)
    draw_accuracy_axis(upper, run.header.metric, limits)
    dress(upper, palette)
    draw_window_axis(lower, windows)
    return figure


def teacher_panel(run: Run, palette: Palette, limits: tuple[float, float]) -> Figure:
    """Accuracy of the teacher: the mean over all terminals' frames, and each terminal's in the background."""
    figure = new_figure(*PANEL_IN, palette)
    axes = figure.subplots()
    for scene in run.terminals:
        for e in evolutions(run, TEACHER, scene=scene):
            span = (e.window + BEFORE_X, e.window + AFTER_X)
            axes.plot(span, (e.before, e.after), color=palette.teacher, alpha=0.28, lw=1.0)
    draw_evolutions(axes, evolutions(run, TEACHER), palette, palette.teacher)
    draw_accuracy_axis(axes, run.header.metric, limits)
    dress(axes, palette)
    draw_window_axis(axes, max(run.windows, 1))
    return figure


def has_scores(run: Run) -> bool:
    """Whether any accuracy is known; without labels, none is."""
    return any(math.isfinite(a.score) for a in run.of(Accuracy))


def accuracy_limits(run: Run) -> tuple[float, float]:
    """Range of all accuracies of a run, so that its panels compare at a glance."""
    values = [a.score for a in run.of(Accuracy) if math.isfinite(a.score)]
    if not values:
        return 0.0, 1.0
    return max(0.0, math.floor(min(values) * 10 - 0.5) / 10), min(1.0, math.ceil(max(values) * 10 + 0.8) / 10)


def _draw_drift(axes: Axes, scores: Sequence[Drift], palette: Palette) -> None:
    axes.bar(
        [d.window + 0.5 for d in scores],
        [d.score if math.isfinite(d.score) else 0.0 for d in scores],
        width=0.34,
        color=[palette.before if d.drifted else palette.other for d in scores],
    )
    for d in scores:
        if d.basis != "compared":
            axes.text(
                d.window + 0.5, 0.5, d.basis.replace(" ", "\n", 1), transform=axes.get_xaxis_transform(), size=SMALL,
                color=palette.before, ha="center", va="center",
            )  # fmt: skip
        if math.isfinite(d.threshold):
            axes.plot((d.window, d.window + 1), (d.threshold, d.threshold), color=palette.alarm, lw=1.4)
    axes.yaxis.set_major_locator(MaxNLocator(2))
    axes.set_ylabel("drift")


def draw_accuracy_axis(axes: Axes, metric: str, limits: tuple[float, float]) -> None:
    """The accuracy axis, with the same limits in every panel."""
    axes.set_ylim(*limits)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.set_ylabel(metric)


def draw_window_axis(axes: Axes, windows: int) -> None:
    """The axis of evolution windows, at most ten of them labelled."""
    stride = math.ceil(windows / 10)
    axes.set_xlim(0, windows)
    axes.set_xticks([w + 0.5 for w in range(0, windows, stride)], [str(w) for w in range(0, windows, stride)])
    axes.set_xlabel("evolution window")
