"""Sensitivity of all layers at one glance."""

import math
from collections.abc import Collection

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nestevo_hw.base.stats import or_none
from nestevo_hw.crossbar.signal import snr_db
from nestevo_hw.pages.style import LIGHT, SMALL, dress, new_figure
from nestevo_hw.studies.sensitivity.measure import SensitivityReport


def draw_sensitivity(report: SensitivityReport, title: str, *, metric: str, keep_digital: Collection[str]) -> Figure:
    """Layers down the page: the score each loses alone on the crossbar, and signal-to-noise ratios beside.

    Args:
        report: what was measured.
        title: above the picture.
        metric: name of the score.
        keep_digital: layers to mark.
    """
    rows = range(len(report.layers))
    figure = new_figure(10.5, min(30.0, 1.9 + 0.2 * len(report.layers)), LIGHT)
    drops, ratios = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    colours = [LIGHT.before if layer.name in keep_digital else LIGHT.after for layer in report.layers]
    means = [layer.drop.mean for layer in report.layers]
    halves = [layer.drop.half for layer in report.layers]
    drops.barh(rows, means, height=0.72, color=colours)
    drops.errorbar(means, rows, xerr=halves, fmt="none", ecolor=LIGHT.ink, elinewidth=0.9, capsize=2.0, alpha=0.7)
    drops.axvline(0.0, color=LIGHT.muted, lw=0.8)
    dress(drops, LIGHT, grid="x")
    drops.set_xlabel(f"{metric} lost with this layer alone on the crossbar, 95 % interval")
    ratio_handles = _draw_ratios(ratios, report)
    drops.set_yticks(rows, [layer.name for layer in report.layers])
    for label, colour in zip(drops.get_yticklabels(), colours, strict=True):
        label.set_color(colour if colour == LIGHT.before else LIGHT.muted)
    drops.set_ylim(len(report.layers) - 0.4, -0.6)
    handles: list[Artist] = [Patch(color=LIGHT.after, label="stays on the crossbar")]
    handles.append(Patch(color=LIGHT.before, label="kept digital by the plan"))
    figure.legend(handles=(handles if keep_digital else []) + ratio_handles, loc="outside lower left", ncols=5,
                  frameon=False, fontsize=SMALL, labelcolor=LIGHT.muted)  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", size=SMALL + 2, color=LIGHT.ink)
    return figure


def _draw_ratios(axes: Axes, report: SensitivityReport) -> list[Artist]:
    series = (
        ("the layer's weights", "|", LIGHT.muted, [layer.weight_snr_db for layer in report.layers]),
        ("the layer's output", "o", LIGHT.mutual, [layer.output_snr_db for layer in report.layers]),
        ("the model's output", "D", LIGHT.teacher, [snr_db(layer.model_error) for layer in report.layers]),
    )
    handles: list[Artist] = []
    for name, marker, colour, values in series:
        # NaN leaves a gap where there is no noise or no signal.
        numbers = [math.nan if (number := or_none(value)) is None else number for value in values]
        size = 8 if marker == "|" else 4.5
        handles += axes.plot(numbers, range(len(numbers)), marker, color=colour, ms=size, label=f"SNR of {name}")
    dress(axes, LIGHT, grid="both")
    axes.set_xlabel("signal-to-noise ratio, dB")
    return handles
