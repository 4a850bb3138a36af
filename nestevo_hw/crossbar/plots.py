"""Pictures of a mapping and of a noise benchmark."""

from collections.abc import Sequence

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nestevo_hw.crossbar.mapping import MappingReport
from nestevo_hw.crossbar.points import UNITS, SweepPoint
from nestevo_hw.report.style import LIGHT, SMALL, dress, new_figure

_NAMED = 80
"""Layers up to which each gets its name."""
_OUTLINED = 24
"""Tiles of the largest layer up to which they are drawn one by one."""


def draw_mapping(report: MappingReport, model: str) -> Figure:
    """Layers down the page, their number of tiles across, coloured by how full the tiles are."""
    layers = report.analog
    figure = new_figure(8.5, min(24.0, 1.5 + 0.19 * len(layers)), LIGHT)
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("fill", ["#d5e4f0", LIGHT.mutual, LIGHT.teacher])
    most = max(layer.tiles for layer in layers)
    for row, layer in enumerate(layers):
        share = layer.utilisation or 0.0
        axes.barh(row, layer.tiles, height=0.82, color=colours(share))
        axes.text(layer.tiles + most / 100, row, f"{layer.tiles} x {share:.0%}", va="center",
                  size=SMALL - 2, color=LIGHT.muted, clip_on=False)  # fmt: skip
        if most <= _OUTLINED:
            axes.vlines(range(1, layer.tiles), row - 0.41, row + 0.41, color=LIGHT.surface, lw=1.0)
    dress(axes, LIGHT, grid="x")
    step = 1 if len(layers) <= _NAMED else -(-len(layers) // _NAMED)
    axes.set_yticks(range(0, len(layers), step), [layer.name for layer in layers[::step]])
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlim(0, most * 1.12)
    axes.set_xlabel("tiles of the layer x cells used")
    totals = report.totals
    figure.suptitle(
        f"{model} on {report.tile[0]} x {report.tile[1]} tiles: {totals.tiles} tiles, "
        f"{totals.utilisation:.0%} of their cells used",
        x=0.01, ha="left", size=SMALL + 2, color=LIGHT.ink,
    )  # fmt: skip
    return figure


def draw_benchmark(points: Sequence[SweepPoint], model: str, metric: str) -> Figure:
    """One panel a sweep, one line a variant, with 95 % intervals."""
    sweeps = list(dict.fromkeys(point.sweep for point in points))
    variants = list(dict.fromkeys(point.variant for point in points))
    colours = (LIGHT.after, LIGHT.before, LIGHT.teacher, LIGHT.alarm, LIGHT.mutual)
    figure = new_figure(4.2 * len(sweeps), 3.4, LIGHT)
    panels = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    for axes, sweep in zip(panels, sweeps, strict=True):
        positions, labels = _positions([p for p in points if p.sweep == sweep])
        for index, variant in enumerate(variants):
            mine = [p for p in points if p.sweep == sweep and p.variant == variant]
            x = [positions[p.value] for p in mine]
            colour = colours[index % len(colours)]
            axes.fill_between(x, [p.ci95[0] for p in mine], [p.ci95[1] for p in mine], color=colour, alpha=0.18,
                              lw=0)  # fmt: skip
            axes.plot(x, [p.mean for p in mine], color=colour, marker="o", ms=4, lw=1.8, label=variant)
        axes.set_xticks(list(positions.values()), labels)
        axes.set_xlabel(f"{_TITLES[sweep]} ({UNITS[sweep]})" if sweep != "time_s" else "time after programming")
        dress(axes, LIGHT)
    panels[0].set_ylabel(metric)
    panels[0].set_ylim(bottom=0.0, top=1.02)
    if len(variants) > 1:
        panels[0].legend(frameon=False, fontsize=SMALL, labelcolor=LIGHT.muted)
    figure.suptitle(model, x=0.01, ha="left", size=SMALL + 2, color=LIGHT.ink)
    return figure


_TITLES = {
    "mu": "weight noise mu",
    "dac_bits": "DAC resolution",
    "adc_bits": "ADC resolution",
    "output_noise": "output noise",
}


def age_text(seconds: float) -> str:
    """A time in the largest unit that keeps it above one."""
    if seconds == 0:
        return "programmed"
    for unit, length in (("y", 31_536_000.0), ("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _positions(points: Sequence[SweepPoint]) -> tuple[dict[float, float], list[str]]:
    """Places on the axis: times in equal steps, since they span decades and begin at zero; others to scale."""
    values = sorted({point.value for point in points})
    if points[0].sweep == "time_s":
        return {value: float(i) for i, value in enumerate(values)}, [age_text(value) for value in values]
    return {value: value for value in values}, [f"{value:g}" for value in values]
