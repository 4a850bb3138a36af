"""One picture that tells what happened: recovery and sample frames of a run's first terminals."""

from textwrap import wrap

from matplotlib.figure import Figure, SubFigure

from nestevo_hw.pages.style import FONT, Palette, dress, legend, new_figure
from nestevo_hw.report.events import Run
from nestevo_hw.report.plots import (
    accuracy_limits,
    draw_accuracy_axis,
    draw_conditions,
    draw_evolutions,
    draw_window_axis,
    stage_marks,
)
from nestevo_hw.report.samples import SampleFrame, latest_sample, load_picture
from nestevo_hw.report.summary import Summary, evolutions, pruning_of
from nestevo_hw.report.wording import headline, lede

_LINE = 140
"""Characters that fit below the headline."""
_LINE_IN = 0.21
"""Height of a line of them, inches."""
_COLUMNS = 3
"""Terminals shown: the first of the configuration, so that nobody picks the best."""


def overview(run: Run, summary: Summary, palette: Palette) -> Figure:
    """Headline, accuracy over the windows, and one frame before and after, for up to three terminals."""
    shown = run.terminals[:_COLUMNS]
    pairs = {name: latest_sample(run, name) for name in shown}
    told = wrap(lede(run, summary), _LINE)
    top, below = 0.85 + _LINE_IN * max(len(told) - 2, 0), 5.25 if any(pairs.values()) else 3.4
    figure = new_figure(12.8, top + below, palette)
    title, body = figure.subfigures(2, 1, height_ratios=(top, below), squeeze=False)[:, 0]
    big = {"size": 19, "weight": "bold", "color": palette.ink, "family": FONT, "va": "center"}
    title.text(0.012, 1 - 0.24 / top, headline(run, summary), **big)
    small = {"size": 10.5, "color": palette.muted, "family": FONT, "va": "top", "linespacing": 1.4}
    title.text(0.012, 1 - 0.49 / top, "\n".join(told), **small)
    if shown:
        marks = stage_marks([e for name in shown for e in evolutions(run, name, scene=name)])
        legend(title, marks, palette, columns=2, loc="upper right")
        limits = accuracy_limits(run)
        columns = body.subfigures(1, len(shown), squeeze=False)[0]
        for column, name in zip(columns, shown, strict=True):
            _draw_terminal(column, run, name, pairs[name], palette, limits)
    return figure


def _draw_terminal(
    column: SubFigure, run: Run, name: str, pair: SampleFrame | None, palette: Palette, limits: tuple[float, float]
) -> None:
    if pair is None:
        chart = column.subplots()
    else:
        axes = column.subplot_mosaic([["chart", "chart"], ["before", "after"]], height_ratios=(1, 0.9))
        chart = axes["chart"]
        for stage, path, colour in (("before", pair.before, palette.before), ("after", pair.after, palette.after)):
            axes[stage].imshow(load_picture(path))
            axes[stage].set_axis_off()
            axes[stage].set_title(f"{stage} (window {pair.window})", size=9, color=colour, family=FONT, loc="left")
    windows, pruning = max(run.windows, 1), pruning_of(run, name)
    draw_conditions(chart, run, name, palette, windows)
    draw_evolutions(chart, evolutions(run, name, scene=name), palette, palette.after)
    draw_accuracy_axis(chart, run.header.metric, limits)
    dress(chart, palette)
    draw_window_axis(chart, windows)
    title = f"{name}  ·  {pruning}" if pruning else name
    chart.set_title(title, size=11, weight="bold", color=palette.ink, loc="left", family=FONT)
