"""Sensitivity of all layers at one glance."""

import math
from collections.abc import Collection

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nestevo_hw.base.stats import Estimate, or_none
from nestevo_hw.crossbar.signal import snr_db
from nestevo_hw.pages.style import Mark, Palette, colour_of, dress, legend, name_rows, new_figure
from nestevo_hw.studies.sensitivity.measure import SensitivityReport

PLACE_MARKS = (
    Mark(text="stays on the crossbar", colour="after"),
    Mark(text="kept digital by the plan", colour="before"),
)
RATIO_MARKS = (
    Mark(text="SNR of the layer's weights", colour="muted", shape="dot"),
    Mark(text="SNR of the layer's output", colour="mutual", shape="dot"),
    Mark(text="SNR of the model's output", colour="teacher", shape="dot"),
)


def sensitivity_marks(keep_digital: Collection[str]) -> list[Mark]:
    """The key of the picture."""
    return [*(PLACE_MARKS if keep_digital else ()), *RATIO_MARKS]


def draw_sensitivity(
    report: SensitivityReport, palette: Palette, *, metric: str, keep_digital: Collection[str], title: str = "",
) -> Figure:  # fmt: skip
    """Layers down the page: what each alone on the crossbar costs, and signal-to-noise ratios beside.

    The cost is the score lost, or the error of the model's raw outputs where the layers were not scored.

    Args:
        report: what was measured.
        palette: of the figure.
        metric: name of the score.
        keep_digital: layers to mark.
        title: above the picture.
    """
    figure = new_figure(10.5, min(30.0, 1.9 + 0.2 * len(report.layers)), palette)
    drops, ratios = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    colours = [palette.before if layer.name in keep_digital else palette.after for layer in report.layers]
    scored = all(layer.drop is not None for layer in report.layers)
    costs = [layer.drop or Estimate.of(layer.model_errors) for layer in report.layers]
    rows, means, halves = range(len(costs)), [cost.mean for cost in costs], [cost.half for cost in costs]
    drops.barh(rows, means, height=0.72, color=colours)
    drops.errorbar(means, rows, xerr=halves, fmt="none", ecolor=palette.ink, elinewidth=0.9, capsize=2.0, alpha=0.7)
    drops.axvline(0.0, color=palette.muted, lw=0.8)
    dress(drops, palette, grid="x")
    cost = f"{metric} lost" if scored else "relative error of the model's raw outputs"
    drops.set_xlabel(f"{cost} with this layer alone on the crossbar, 95 % interval")
    _draw_ratios(ratios, report, palette)
    name_rows(drops, [layer.name for layer in report.layers])
    for label, layer in zip(drops.get_yticklabels(), report.layers, strict=True):
        label.set_color(palette.before if layer.name in keep_digital else palette.muted)
    legend(figure, sensitivity_marks(keep_digital), palette, columns=5, title=title)
    return figure


def _draw_ratios(axes: Axes, report: SensitivityReport, palette: Palette) -> None:
    series = (
        [layer.weight_snr_db for layer in report.layers],
        [layer.output_snr_db for layer in report.layers],
        [snr_db(layer.model_error) for layer in report.layers],
    )
    for mark, values in zip(RATIO_MARKS, series, strict=True):
        # NaN leaves a gap where there is no noise or no signal.
        numbers = [math.nan if (number := or_none(value)) is None else number for value in values]
        axes.plot(numbers, range(len(numbers)), "o", color=colour_of(palette, mark.colour), ms=4.5)
    dress(axes, palette, grid="both")
    axes.set_xlabel("signal-to-noise ratio, dB")
