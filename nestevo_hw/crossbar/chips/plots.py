"""One picture of what a model costs on a chip: time of all frames, energy of one, and how even the pipeline is."""

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nestevo_hw.crossbar.chips.cost import ChipCost
from nestevo_hw.crossbar.chips.estimates import Estimate
from nestevo_hw.crossbar.chips.pipeline import Pass
from nestevo_hw.pages.formats import counted
from nestevo_hw.pages.style import FONT, LIGHT, SMALL, dress, new_figure

_COLOURS = {
    "bound": LIGHT.upload,
    "rule of thumb": LIGHT.upload,
    "modelled": LIGHT.after,
    "measured": LIGHT.before,
    "paper": LIGHT.muted,
}
_PASSES = (LIGHT.mutual, LIGHT.teacher, LIGHT.generator, LIGHT.distil)
_ENERGY = {
    "arrays": "arrays",
    "adc": "ADCs",
    "dac": "DACs",
    "accumulate": "shift and add",
    "buffers": "buffers, network",
    "digital": "digital layers",
}


def draw_cost(cost: ChipCost, estimates: tuple[Estimate, ...], model: str) -> Figure:
    """Three panels: total time of every estimate, energy of a frame by part, and time of each layer, digital or not."""
    figure = new_figure(10.0, 6.4, LIGHT)
    rows = figure.add_gridspec(2, 1, height_ratios=(5, 4))
    above, below = figure.add_subfigure(rows[0]), figure.add_subfigure(rows[1])
    left, right = above.subplots(1, 2, width_ratios=(3, 2))
    _totals(left, cost, [e for e in estimates if e.name != "one-by-one"])
    _energy(right, cost)
    _layers(below.add_subplot(), cost)
    height, width = cost.workload.size
    figure.suptitle(
        f"{model} on {cost.chip.label}\n{counted(cost.frames, 'frame')} of {width} x {height}; "
        f"chips used: {cost.chips}, to hold the model: {cost.chips_needed} (modelled)",
        x=0.01, ha="left", size=SMALL + 2, color=LIGHT.ink,
    )  # fmt: skip
    return figure


def _totals(axes: Axes, cost: ChipCost, estimates: list[Estimate]) -> None:
    most = max(e.total_s for e in estimates)
    for row, estimate in enumerate(estimates):
        chosen = estimate.name == "pipeline"
        if chosen:
            axes.barh(row, cost.rewriting_s, left=estimate.total_s - cost.rewriting_s, height=0.62, color=LIGHT.program,
                      zorder=2)  # fmt: skip
        axes.barh(row, estimate.total_s, height=0.62, color=_COLOURS[estimate.kind], alpha=1.0 if chosen else 0.55)
        writing = f", {cost.rewriting_s:.3g} s writing" if chosen and cost.rewriting_s > 0.01 * most else ""
        text = f"{estimate.total_s:.4g} s  ({estimate.interval_s * 1e3:.3g} ms a frame{writing})"
        axes.text(estimate.total_s + most / 80, row, text, va="center", size=SMALL - 1.5, color=LIGHT.ink, family=FONT,
                  weight="bold" if chosen else "normal", clip_on=False)  # fmt: skip
    dress(axes, LIGHT, grid="x")
    axes.set_yticks(range(len(estimates)), [_wrapped(e.label) for e in estimates])
    axes.set_ylim(len(estimates) - 0.4, -0.6)
    axes.set_xlim(0, most * 1.75)
    axes.set_title(f"seconds for {cost.frames} frames, loading included", loc="left", size=SMALL, color=LIGHT.muted)


def _energy(axes: Axes, cost: ChipCost) -> None:
    energy = cost.energy
    parts = {label: getattr(energy, name) for name, label in _ENERGY.items()}
    shown = [(label, value) for label, value in parts.items() if value]
    for row, (_, value) in enumerate(shown):
        axes.barh(row, value * 1e3, height=0.62, color=LIGHT.mutual)
        axes.text(value * 1e3, row, f" {value * 1e3:.3g} mJ ({value / energy.total:.0%})", va="center",
                  size=SMALL - 1.5, color=LIGHT.ink, family=FONT, clip_on=False)  # fmt: skip
    dress(axes, LIGHT, grid="x")
    names = [label + " with converters" if label == "arrays" and energy.adc is None else label for label, _ in shown]
    axes.set_yticks(range(len(shown)), [_wrapped(name) for name in names])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, max(value for _, value in shown) * 1.8e3)
    axes.set_title(f"millijoules a frame: {energy.total * 1e3:.4g}", loc="left", size=SMALL, color=LIGHT.muted)


def _layers(axes: Axes, cost: ChipCost) -> None:
    position = 0
    for number, one in enumerate(cost.passes):
        start, colour = position, _PASSES[number % len(_PASSES)]
        for time_ms, analog in _times_ms(one, cost):
            axes.bar(position, time_ms, width=0.8, color=colour if analog else LIGHT.muted)
            position += 1
        if position > start:
            interval_ms = cost.intervals_s[number] * 1e3
            axes.hlines(interval_ms, start - 0.5, position - 0.5, color=LIGHT.alarm, lw=1.2)
            label = f"pass {number + 1}: {interval_ms:.3g} ms" if len(cost.passes) > 1 else f"{interval_ms:.3g} ms"
            if len(cost.passes) <= 6:
                axes.text(start - 0.4, interval_ms, label, va="bottom", size=SMALL - 1, color=LIGHT.alarm, family=FONT)
    dress(axes, LIGHT)
    axes.set_xlim(-0.8, position - 0.2)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
    axes.set_xticks([])
    axes.set_xlabel(
        "layers, first to last, digital ones grey; a pass waits for its slowest on the arrays, or for all digital ones"
    )
    digital = cost.digital
    axes.set_title(
        f"milliseconds a frame in each layer; digital: {digital.macs_share:.1%} of multiply-accumulates, "
        f"{digital.time_share:.1%} of a frame's time alone, {digital.energy_share:.1%} of its energy",
        loc="left", size=SMALL, color=LIGHT.muted,
    )  # fmt: skip


def _times_ms(one: Pass, cost: ChipCost) -> Iterator[tuple[float, bool]]:
    """Time of every stage of a pass that has work, and whether it is on the arrays."""
    for stage, copies in zip(one.stages, one.copies, strict=True):
        if copies and stage.products:
            yield -(-stage.products // copies) * cost.chip.product_s * 1e3, True
        elif stage.digital_macs:
            yield stage.digital_macs / (cost.chips * cost.chip.digital_gmac_per_s * 1e6), False


def _wrapped(label: str, width: int = 34) -> str:
    lines = [""]
    for word in label.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
