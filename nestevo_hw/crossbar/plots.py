"""Pictures of a mapping."""

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nestevo_hw.crossbar.mapping import MappingReport
from nestevo_hw.pages.style import LIGHT, SMALL, dress, new_figure

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
