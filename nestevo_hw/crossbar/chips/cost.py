"""Time, energy and area of a model on a published chip: modelled from the chip's figures, not measured."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.chips.chip import Chip, load_reference
from nestevo_hw.crossbar.chips.pipeline import Pass, Stage, passes
from nestevo_hw.crossbar.chips.programming import ProgrammingCost, programming_cost
from nestevo_hw.crossbar.chips.workload import Workload
from nestevo_hw.crossbar.mapping import MappingReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """One frame, joules by part; None where the chip publishes the part only as contained in `arrays`."""

    arrays: float
    adc: float | None
    dac: float | None
    accumulate: float | None
    buffers: float
    digital: float

    @property
    def total(self) -> float:
        """Sum of the parts."""
        parts = (self.arrays, self.adc, self.dac, self.accumulate, self.buffers, self.digital)
        return sum(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTime:
    """One frame alone, layer after layer without overlap, seconds by part."""

    arrays: float
    """Reading the arrays."""
    adc: float
    """Waiting for converters that take longer than a read."""
    fill: float
    """From a layer's first input to its first output, beyond the reads."""
    digital: float
    """Layers that stay digital."""

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.arrays + self.adc + self.fill + self.digital


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipCost:
    """A model on a number of chips."""

    chip: Chip
    workload: Workload
    frames: int
    chips: int
    """Chips used."""
    chips_needed: int
    """Chips that hold every layer once."""
    arrays: int
    """Arrays that hold every layer once."""
    operations: int
    """Operations of a frame on the arrays; a multiply-accumulate is two."""
    passes: tuple[Pass, ...]
    """More than one if the chips do not hold the model: the arrays are written anew between them."""
    cell_utilisation: float
    """Cells that hold a weight / cells of the arrays of one copy, 0 to 1."""
    sustained_share: float
    """Operations done / published peak of the chips used, 0 to 1."""
    interval_s: float
    """From one frame to the next."""
    frame: FrameTime
    load_s: float
    """Loading the model on the host, as measured by the paper for its detector."""
    rewriting_s: float
    """Writing the arrays between passes, for all frames; 0 with one pass."""
    total_s: float
    """All frames, loading the model and writing the arrays between passes included."""
    energy: Energy
    energy_published_j: float
    """One frame at the chip's published efficiency, as a check of `energy`."""
    area_mm2: float
    programming: ProgrammingCost
    """Writing a new model into all arrays in use."""


def chip_cost(report: MappingReport, workload: Workload, chip: Chip, *, frames: int = 1200, chips: int = 1) -> ChipCost:
    """Cost of running `frames` frames on `chips` chips.

    Args:
        report: which layers are on the crossbar; arrays are counted anew for the chip's geometry.
        workload: what a frame asks of each layer.
        chip: the chip's figures.
        frames: number of frames that arrive together.
        chips: chips to use; where they do not hold the model, it runs in several passes over all frames.

    Raises:
        ConfigError: no frame or no chip.
    """
    if frames < 1 or chips < 1:
        raise ConfigError(f"need 1 frame and 1 chip or more, got {frames} and {chips}")
    analog = frozenset(layer.name for layer in report.analog)
    stages = _stages(report, workload, chip)
    arrays = sum(stage.arrays for stage in stages)
    plan = passes(stages, chips * chip.arrays_per_chip)
    programming = programming_cost(report, chip, chips=chips, copies=_copies(plan))
    operations = 2 * sum(work.macs for name, work in workload.layers.items() if name in analog)
    interval_s = sum(_interval_s(one, chip, chips) for one in plan)
    frame = _frame_time(plan, chip, chips)
    rewriting_s = programming.time_s if len(plan) > 1 else 0.0
    cells = sum(layer.parameters for layer in report.analog) * chip.rows_per_weight * chip.columns_per_weight
    return ChipCost(
        chip=chip,
        workload=workload,
        frames=frames,
        chips=chips,
        chips_needed=-(-arrays // chip.arrays_per_chip),
        arrays=arrays,
        operations=operations,
        passes=plan,
        cell_utilisation=cells / (arrays * chip.array_rows * chip.array_columns),
        sustained_share=operations / (interval_s * chips * chip.peak_tops * 1e12) if interval_s else 0.0,
        interval_s=interval_s,
        frame=frame,
        load_s=load_reference().load_s,
        rewriting_s=rewriting_s,
        total_s=load_reference().load_s + rewriting_s + frame.total + (frames - 1) * interval_s,
        energy=_energy(analog, workload, chip),
        energy_published_j=operations / (chip.peak_tops_per_w * 1e12),
        area_mm2=chips * chip.chip_area_mm2,
        programming=programming,
    )


def _stages(report: MappingReport, workload: Workload, chip: Chip) -> list[Stage]:
    """Every layer in the order of its first call; layers that no frame calls come last and only take arrays."""
    analog = {layer.name: layer for layer in report.analog}
    stages = [
        Stage(name=name, arrays=chip.arrays(work.rows, work.columns, work.groups), products=work.products)
        if name in analog
        else Stage(name=name, arrays=0, products=0, digital_macs=work.macs)
        for name, work in workload.layers.items()
    ]
    idle = (layer for name, layer in analog.items() if name not in workload.layers)
    stages += [Stage(name=layer.name, arrays=chip.arrays(*layer.matrix, layer.groups), products=0) for layer in idle]
    if workload.other_macs:
        stages.append(Stage(name="other operations", arrays=0, products=0, digital_macs=workload.other_macs))
    return stages


def _copies(plan: Sequence[Pass]) -> dict[str, int]:
    """Copies of each layer. Parts of a layer that is spread over passes are written once each: one copy."""
    parts = Counter(stage.name for one in plan for stage in one.stages)
    return {
        stage.name: copies if parts[stage.name] == 1 else 1
        for one in plan
        for stage, copies in zip(one.stages, one.copies, strict=True)
    }


def _digital_s(one: Pass, chip: Chip, chips: int) -> float:
    return sum(stage.digital_macs for stage in one.stages) / (chips * chip.digital_gmac_per_s * 1e9)


def _interval_s(one: Pass, chip: Chip, chips: int) -> float:
    """From one frame to the next: the slowest layer on the arrays, or all digital layers one after another."""
    return max(one.interval * chip.product_s, _digital_s(one, chip, chips))


def _frame_time(plan: Sequence[Pass], chip: Chip, chips: int) -> FrameTime:
    analog = [
        -(-stage.products // copies)
        for one in plan
        for stage, copies in zip(one.stages, one.copies, strict=True)
        if copies and stage.products
    ]
    cycles = sum(analog) * chip.input_cycles
    return FrameTime(
        arrays=cycles * chip.array_read_ns * 1e-9,
        adc=cycles * (chip.cycle_s - chip.array_read_ns * 1e-9),
        fill=len(analog) * chip.pipeline_cycles * chip.cycle_s,
        digital=sum(_digital_s(one, chip, chips) for one in plan),
    )


def _energy(analog: Set[str], workload: Workload, chip: Chip) -> Energy:
    """Every product reads all arrays of its layer, converts its used columns and drives its used rows, once a cycle.

    Inputs are fetched and outputs stored once a product; overlapping windows are fetched again. Idle arrays are
    taken to be switched off, and the digital layers' own memory traffic is not counted.
    """
    reads = conversions = drives = bits = macs = 0
    for name, work in workload.layers.items():
        if name not in analog:
            macs += work.macs
            continue
        bands, row_blocks, column_blocks = chip.blocks(work.rows, work.columns, work.groups)
        inputs, outputs = work.groups * work.rows, work.groups * work.columns
        cycles = work.products * chip.input_cycles
        reads += cycles * bands * row_blocks * column_blocks
        conversions += cycles * row_blocks * outputs * chip.columns_per_weight
        drives += cycles * column_blocks * inputs * chip.rows_per_weight
        bits += work.products * (inputs * chip.input_bits + outputs * chip.output_bits)

    def joules(picojoules: float | None, count: float) -> float | None:
        return None if picojoules is None else picojoules * 1e-12 * count

    return Energy(
        arrays=chip.array_energy_pj * 1e-12 * reads,
        adc=joules(chip.adc_energy_pj, conversions),
        dac=joules(chip.dac_energy_pj, drives),
        accumulate=joules(chip.accumulate_energy_pj, conversions),
        buffers=chip.buffer_energy_pj_per_byte * 1e-12 * bits / 8,
        digital=chip.digital_energy_pj_per_mac * 1e-12 * (macs + workload.other_macs),
    )
