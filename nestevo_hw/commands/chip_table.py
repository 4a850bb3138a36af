"""The cost of a model on a chip, for `nestevo-hw map --chip`: as a document and as a table."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nestevo_hw.crossbar.chips.agreement import Difference
    from nestevo_hw.crossbar.chips.chip import Chip
    from nestevo_hw.crossbar.chips.cost import ChipCost
    from nestevo_hw.crossbar.chips.estimates import Estimate
    from nestevo_hw.crossbar.mapping import MappingReport

UPDATES_PER_DAY = (1, 24, 144)
"""Rates of new teachers that the lifetime is given for: daily, hourly, and the default window of 600 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelledChip:
    """What a chip costs, compared and explained."""

    cost: "ChipCost"
    estimates: "tuple[Estimate, ...]"
    modes: "tuple[ChipCost, ...]"
    """The same frames in the chip's other reading modes."""
    differences: "tuple[Difference, ...]"
    """Between what accuracy is simulated with and what is costed."""
    notes: tuple[str, ...]


def model_chip(
    model: "nn.Module",
    report: "MappingReport",
    chip: "Chip",
    differences: "tuple[Difference, ...]",
    *,
    chips: int,
    frames: int,
    rank: int,
    one: "Tensor",
) -> ModelledChip:
    """Cost of a model on a chip.

    Args:
        model: digital; only its shapes are used.
        report: which layers are on the crossbar.
        chip: its figures.
        differences: to what accuracy is simulated with.
        chips: number of chips to use.
        frames: number of frames that arrive together.
        rank: of digital side paths beside the layers; 0: none.
        one: input of the model, of which shapes alone count, batch dimension included.
    """
    from nestevo_hw.crossbar.chips.cost import chip_cost
    from nestevo_hw.crossbar.chips.estimates import estimates, in_other_modes, notes
    from nestevo_hw.crossbar.chips.workload import count_workload
    from nestevo_hw.models.adapters import layers_with_side_path

    work = count_workload(model, inputs=one).with_side_paths(layers_with_side_path(model), rank)
    cost = chip_cost(report, work, chip, frames=frames, chips=chips)
    return ModelledChip(
        cost=cost,
        estimates=estimates(report, cost),
        modes=in_other_modes(report, cost),
        differences=differences,
        notes=notes(cost),
    )


def chip_document(modelled: ModelledChip) -> dict[str, Any]:
    """The machine-readable cost; every time and energy in it is modelled."""
    cost, programming = modelled.cost, modelled.cost.programming
    return {
        "name": cost.chip.name,
        "title": cost.chip.title,
        "status": "modelled",
        "size": list(cost.workload.size),
        "frames": cost.frames,
        "interval_s": cost.interval_s,
        "first_frame_s": cost.first_frame_s,
        "frame_by_frame_s": cost.frame_by_frame_s,
        "total_s": cost.total_s,
        "energy_j_per_frame": cost.energy.total,
        "chips": cost.chips_needed,
        "programming_s": programming.time_s,
        "programming_j": programming.energy_j,
        "mode": cost.chip.mode or None,
        "modes": [_mode(one) for one in (cost, *modelled.modes)] if cost.chip.mode else [],
        "differences": [one.document() for one in modelled.differences],
        "notes": list(modelled.notes),
        "chips_used": cost.chips,
        "passes": len(cost.passes),
        "arrays": cost.arrays,
        "arrays_per_chip": cost.chip.arrays_per_chip,
        "array": [cost.chip.array_rows, cost.chip.array_columns],
        "sum_columns": cost.chip.sum_columns,
        "utilisation": asdict(cost.filling),
        "activity": asdict(cost.activity),
        "sustained_share": cost.sustained_share,
        "area_mm2": cost.area_mm2,
        "load_s": cost.load_s,
        "rewriting_s": cost.rewriting_s,
        "time_parts_s": asdict(cost.frame),
        "energy_parts_j": asdict(cost.energy),
        "energy_range_j": list(cost.energy_range_j),
        "energy_published_j": cost.energy_published_j,
        "digital": asdict(cost.digital),
        "programming": {
            **asdict(programming),
            "cell_writes": programming.cell_writes,
            "lifetime_years": {str(rate): programming.lifetime_years(rate) for rate in UPDATES_PER_DAY},
        },
        "estimates": [asdict(estimate) for estimate in modelled.estimates],
        "workload": {
            "network_size": list(cost.workload.network_size),
            "regions": cost.workload.regions,
            "macs": cost.workload.macs,
            "operations": 2 * cost.workload.macs,
            "not_counted": cost.workload.not_counted,
        },
        "layers": _layers(cost),
        "figures": {name: asdict(figure) for name, figure in cost.chip.figures.items()},
    }


def _mode(cost: "ChipCost") -> dict[str, Any]:
    chip = cost.chip
    return {
        "name": chip.mode,
        "simulated": chip.mode == chip.default_mode,
        "note": chip.mode_note,
        "peak_tops": chip.peak_tops,
        "peak_tops_per_w": chip.peak_tops_per_w,
        "interval_s": cost.interval_s,
        "first_frame_s": cost.first_frame_s,
        "total_s": cost.total_s,
        "energy_j_per_frame": cost.energy.total,
    }


def _layers(cost: "ChipCost") -> list[dict[str, Any]]:
    return [
        {
            "name": stage.name,
            "pass": number,
            "arrays": stage.arrays,
            "copies": copies,
            "products": stage.products,
            "digital_macs": stage.digital_macs,
            "time_s": -(-stage.products // copies) * cost.chip.product_s if copies else None,
        }
        for number, one in enumerate(cost.passes)
        for stage, copies in zip(one.stages, one.copies, strict=True)
    ]


def show_chip(modelled: ModelledChip, picture: Path | None) -> None:
    """Print the cost for people."""
    from nestevo_hw.pages.formats import counted
    from nestevo_hw.pages.tables import Table, show

    cost = modelled.cost
    height, width = cost.workload.size
    table = Table(
        title=f"{counted(cost.frames, 'frame')} of {width} x {height} on {cost.chip.label}, modelled",
        heads=("estimate", "chips", "ms between frames", "first frame ms", "total s"),
        rows=[
            (
                e.label,
                "" if e.chips is None else str(e.chips),
                _milliseconds(e.interval_s),
                _milliseconds(e.first_frame_s),
                f"{e.total_s:.2f}",
            )
            for e in modelled.estimates
        ],
        marked=frozenset(i for i, e in enumerate(modelled.estimates) if e.name == "pipeline"),
    )
    notes = (f"- {note}" for note in (*(one.note for one in modelled.differences), *modelled.notes))
    show(
        table,
        _energy(cost),
        *_other_modes(modelled),
        _digital(cost),
        _programming(cost),
        *notes,
        *([] if picture is None else [f"picture: {picture}"]),
    )


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.4g}" if seconds < 10 else f"{seconds * 1e3:.0f}"


def _energy(cost: "ChipCost") -> str:
    from nestevo_hw.pages.formats import prefixed

    energy = cost.energy
    named = {
        "arrays with converters" if energy.adc is None else "arrays": energy.arrays,
        "ADCs": energy.adc,
        "DACs": energy.dac,
        "shift and add": energy.accumulate,
        "buffers and network": energy.buffers,
        "digital layers": energy.digital,
    }
    parts = ", ".join(f"{name} {value / energy.total:.0%}" for name, value in named.items() if value)
    return (
        f"Energy: {prefixed(energy.total, 'J')} a frame ({parts}); {prefixed(cost.energy_published_j, 'J')} at the "
        f"published {cost.chip.peak_tops_per_w:g} TOPS/W. Area: {cost.area_mm2:.4g} mm2."
    )


def _other_modes(modelled: ModelledChip) -> list[str]:
    from nestevo_hw.pages.formats import prefixed

    return [
        f"In {one.chip.mode} read: {prefixed(one.energy.total, 'J')} a frame; "
        f"{prefixed(one.energy_published_j, 'J')} at the {one.chip.peak_tops_per_w:g} TOPS/W published for it."
        for one in modelled.modes
    ]


def _digital(cost: "ChipCost") -> str:
    from nestevo_hw.pages.formats import counted, share

    digital = cost.digital
    if not digital.parts:
        return "Digital: nothing; every multiply-accumulate is on the arrays."
    named = digital.parts[0].name if len(digital.parts) == 1 else ""
    pace = "; it sets the time between frames" if digital.sets_interval else ""
    macs, time, energy = share(digital.macs_share), share(digital.time_share), share(digital.energy_share)
    return (
        f"Digital: {named or counted(len(digital.parts), 'part')} with {macs} of the multiply-accumulates, "
        f"{time} of the time of a frame alone and {energy} of its energy{pace}."
    )


def _programming(cost: "ChipCost") -> str:
    from nestevo_hw.pages.formats import prefixed

    programming = cost.programming
    years = programming.lifetime_years(24)
    return (
        f"A new model: {prefixed(programming.time_s, 's')} and {prefixed(programming.energy_j, 'J')} to write "
        f"{programming.cells:.3g} devices, {programming.writes_per_cell:g} pulses each, copies of busy layers "
        f"included; {programming.lifetime_updates:.3g} updates wear them out, {years:.3g} years at one an hour."
    )
