"""The ways to say how long a frame takes on a chip, side by side, and what is wrong with the paper's Table 6."""

from dataclasses import dataclass
from typing import Literal

from nestevo_hw.crossbar.chips.chip import DigitalReference
from nestevo_hw.crossbar.chips.chip_file import load_reference
from nestevo_hw.crossbar.chips.cost import ChipCost, chip_cost
from nestevo_hw.crossbar.mapping import MappingReport

PAPER_FRAMES = 1200
PAPER_SIZE = (720, 1280)
PAPER_ISAAC_S = 18.73
"""Table 6: 1200 frames on ISAAC after 2.1 s of loading; 15.6 ms a frame."""
PAPER_ISAAC_TOTAL_S = 20.83
PAPER_MFLOPS = 11.72
Kind = Literal["bound", "rule of thumb", "modelled", "measured", "paper"]
"""bound: from the published peak alone; paper: printed there without derivation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One way to say how long frames take."""

    name: str
    """Short and stable, for scripts."""
    label: str
    """For people."""
    kind: Kind
    chips: int | None
    """None for a digital machine."""
    interval_s: float
    """What every further frame adds."""
    first_frame_s: float | None
    """Until the first frame is done, loading not included; None where the estimate does not say."""
    total_s: float
    """All frames, loading the model included."""


def estimates(report: MappingReport, cost: ChipCost) -> tuple[Estimate, ...]:
    """Every estimate for the frames of `cost`.

    `peak` divides operations by published throughput, as if every cell of one chip worked all the time.
    `pipeline` is the one to use: layers on the chips used, busy ones copied into spare arrays, in several passes
    where they do not fit; `pipeline-fitting` is the same on as many chips as hold the model, `mode-NAME` the same in
    another reading mode of the chip. `one-by-one` takes no frame before the last one is done. For the workload of
    the paper's Table 6 there is also `in-turns`, the peak stretched by the arrays that one chip lacks: easy to
    reckon, but no bound, because a chip that works on a part of the model is not idle.
    """
    reference, frames = load_reference(), cost.frames
    peak_s = cost.operations / (cost.chip.peak_tops * 1e12)
    share = cost.arrays / cost.chip.arrays_per_chip
    fitting = ", if the model fitted" if share > 1 else ""
    mode = f" in {cost.chip.mode} read" if cost.chip.mode else ""
    rows = [_from_peak("peak", "bound", f"published peak of one chip{mode}{fitting}", peak_s, frames)]
    if is_table6(cost):
        label = f"rule of thumb: the same x {share:.2f} for the arrays it lacks"
        rows.append(_from_peak("in-turns", "rule of thumb", label, peak_s * share, frames))
    rows.append(_pipeline("pipeline", cost))
    if cost.chips != cost.chips_needed:
        enough = chip_cost(report, cost.workload, cost.chip, frames=frames, chips=cost.chips_needed)
        rows.append(_pipeline("pipeline-fitting", enough))
    rows += [_pipeline(f"mode-{other.chip.mode}", other) for other in in_other_modes(report, cost)]
    rows += [_one_by_one(cost), _digital(reference, cost)]
    if is_table6(cost):
        rows.append(
            Estimate(
                name="paper-isaac",
                label="ISAAC as printed in the paper's Table 6",
                kind="paper",
                chips=1,
                interval_s=PAPER_ISAAC_S / PAPER_FRAMES,
                first_frame_s=None,
                total_s=PAPER_ISAAC_TOTAL_S,
            )
        )
    return tuple(rows)


def in_other_modes(report: MappingReport, cost: ChipCost) -> tuple[ChipCost, ...]:
    """The same frames on the same chips in their other reading modes."""
    return tuple(
        chip_cost(report, cost.workload, other, frames=cost.frames, chips=cost.chips) for other in cost.chip.others
    )


def is_table6(cost: ChipCost) -> bool:
    """Whether `cost` is of the workload that the paper's Table 6 gives a time on ISAAC for."""
    close = abs(cost.workload.macs / (load_reference().reference_gmac * 1e9) - 1) < 0.01
    return close and (cost.chip.name, cost.workload.size, cost.frames) == ("isaac", PAPER_SIZE, PAPER_FRAMES)


def notes(cost: ChipCost) -> tuple[str, ...]:
    """What a reader must know to use the numbers, most important first."""
    chip = cost.chip
    lines = ["Modelled from published figures; nothing was measured on a chip."]
    if cost.chips < cost.chips_needed:
        lines.append(
            f"The model takes {cost.arrays} arrays of {chip.array_rows} x {chip.array_columns} and a chip has "
            f"{chip.arrays_per_chip}: it does not fit {_chips(cost.chips)}. It runs in {len(cost.passes)} passes over "
            f"all frames, the arrays written anew in each ({_seconds(cost.rewriting_s)} in all), so these frames wear "
            f"the cells like {len(cost.passes)} new models; feature maps that wait between passes are not costed."
        )
    filling, (used_j, whole_j) = cost.filling, cost.energy_range_j
    lines.append(
        f"Uneven layers leave {cost.sustained_share:.0%} of the published peak. Of the arrays of one copy of the model "
        f"{filling.rows:.0%} of the rows and {filling.columns:.0%} of the columns are used, and {filling.cells:.0%} of "
        f"the cells hold weights; energy is {used_j:.3g} J a frame if the unused ones took nothing, {whole_j:.3g} J if "
        "arrays work as a whole."
    )
    lines += _mode(cost)
    if is_table6(cost):
        lines += _table6(cost)
    lines.append(f"Not counted: {cost.workload.not_counted}; transfers between chips.")
    return (*lines, *chip.notes)


def _mode(cost: ChipCost) -> list[str]:
    """What the reading mode is, and that there are others."""
    chip = cost.chip
    return [f"{one.mode.capitalize()} read, {how}: {one.mode_note}." for one, how in
            ((chip, "the figures above"), *((other, "selectable")  for other in chip.others)) if one.mode]  # fmt: skip


def _table6(cost: ChipCost) -> tuple[str, ...]:
    operations = 2 * cost.workload.macs
    implied = operations / (PAPER_ISAAC_S / PAPER_FRAMES)
    off = cost.total_s / PAPER_ISAAC_TOTAL_S - 1
    return (
        f"Table 6 of the paper prints {PAPER_MFLOPS} MFLOPS a frame, which is impossible: it takes {operations:.3g} "
        f"operations, {operations / (PAPER_MFLOPS * 1e6):,.0f} times as many.",
        f"Its {PAPER_ISAAC_S / PAPER_FRAMES * 1e3:.1f} ms a frame mean {implied / 1e12:.1f} TOPS, "
        f"{implied / (cost.chip.peak_tops * 1e12):.0%} of one chip's published peak, but one chip does not hold the "
        f"model. It does not say how it got there; our total is {off:+.1%} of its {PAPER_ISAAC_TOTAL_S} s.",
    )


def _from_peak(name: str, kind: Kind, label: str, interval_s: float, frames: int) -> Estimate:
    total_s = load_reference().load_s + frames * interval_s
    return Estimate(
        name=name, label=label, kind=kind, chips=1, interval_s=interval_s, first_frame_s=None, total_s=total_s
    )


def _pipeline(name: str, cost: ChipCost) -> Estimate:
    passes = f" in {len(cost.passes)} passes" if len(cost.passes) > 1 else ""
    mode = f", {cost.chip.mode} read" if cost.chip.mode else ""
    return Estimate(
        name=name,
        label=f"balanced pipeline on {_chips(cost.chips)}{passes}{mode}",
        kind="modelled",
        chips=cost.chips,
        interval_s=cost.interval_s,
        first_frame_s=cost.first_frame_s,
        total_s=cost.total_s,
    )


def _one_by_one(cost: ChipCost) -> Estimate:
    writing = ", arrays written anew for each" if len(cost.passes) > 1 else ""
    return Estimate(
        name="one-by-one",
        label=f"one frame after another, layer by layer{writing}",
        kind="modelled",
        chips=cost.chips,
        interval_s=cost.frame_by_frame_s,
        first_frame_s=cost.frame_by_frame_s,
        total_s=cost.load_s + cost.frames * cost.frame_by_frame_s,
    )


def _digital(reference: DigitalReference, cost: ChipCost) -> Estimate:
    scale = cost.workload.macs / (reference.reference_gmac * 1e9)
    scaled = "" if abs(scale - 1) < 0.01 else f", scaled x {scale:.3g} by operations"
    frame_s = reference.frame_s * scale
    return Estimate(
        name=reference.name,
        label=f"{reference.title}{scaled}",
        kind="modelled" if scaled else "measured",
        chips=None,
        interval_s=frame_s,
        first_frame_s=frame_s,
        total_s=reference.load_s + cost.frames * frame_s,
    )


def _chips(count: int) -> str:
    return "one chip" if count == 1 else f"{count} chips"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"
