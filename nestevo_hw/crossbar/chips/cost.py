"""Time, energy and area of a model on a published chip: modelled from the chip's figures, not measured."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.chips.chip import Chip
from nestevo_hw.crossbar.chips.chip_file import load_reference
from nestevo_hw.crossbar.chips.energy import Activity, Energy, Filling
from nestevo_hw.crossbar.chips.pipeline import Pass, Stage, passes
from nestevo_hw.crossbar.chips.programming import ProgrammingCost, programming_cost
from nestevo_hw.crossbar.chips.workload import Workload
from nestevo_hw.crossbar.mapping import MappingReport

OTHER = "other operations"
"""Name of the stage of multiply-accumulates outside layers."""
SIDE_PATHS = "side paths"
"""Name of the stage of low-rank adapters beside layers."""


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
class DigitalPart:
    """Work of a frame that is not done on the arrays."""

    name: str
    """Of the layer, or "other operations"."""
    reason: str
    """Why it is digital."""
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitalShare:
    """How much of a frame is done beside the arrays; shares are 0 to 1."""

    parts: tuple[DigitalPart, ...]
    macs: int
    macs_share: float
    time_s: float
    """All parts one after another."""
    time_share: float
    """Of a frame alone."""
    energy_j: float
    energy_share: float
    sets_interval: bool
    """Whether in any pass the digital layers, not the arrays, set the time between two frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipCost:
    """A model on a number of chips."""

    chip: Chip
    workload: Workload
    frames: int
    chips: int
    """Chips used."""
    arrays: int
    """Arrays that hold every layer once."""
    operations: int
    """Operations of a frame on the arrays; a multiply-accumulate is two."""
    passes: tuple[Pass, ...]
    """More than one if the chips do not hold the model: the arrays are written anew for each."""
    intervals_s: tuple[float, ...]
    """From one frame to the next in each pass."""
    frame: FrameTime
    load_s: float
    """Loading the model on the host, as measured by the paper for its detector."""
    filling: Filling
    activity: Activity
    energy: Energy
    digital: DigitalShare
    programming: ProgrammingCost
    """Writing a new model into all arrays in use."""

    @property
    def chips_needed(self) -> int:
        """Chips that hold every layer once."""
        return -(-self.arrays // self.chip.arrays_per_chip)

    @property
    def interval_s(self) -> float:
        """What every further frame adds: from one frame to the next, summed over the passes."""
        return sum(self.intervals_s)

    @property
    def rewriting_s(self) -> float:
        """Writing the arrays for every pass, once for all frames; 0 with one pass, whose arrays keep the model."""
        return self.programming.time_s if len(self.passes) > 1 else 0.0

    @property
    def first_frame_s(self) -> float:
        """From the start until the first frame is done, loading not included.

        With several passes it waits for all other frames in each but the last, and for the writing of each.
        """
        return self.frame_by_frame_s + (self.frames - 1) * sum(self.intervals_s[:-1])

    @property
    def frame_by_frame_s(self) -> float:
        """Each frame if none waits for others: alone through all passes, the arrays written anew for each."""
        return self.frame.total + self.rewriting_s

    @property
    def total_s(self) -> float:
        """All frames, loading the model and writing the arrays for the passes included."""
        return self.load_s + self.first_frame_s + (self.frames - 1) * self.intervals_s[-1]

    @property
    def sustained_share(self) -> float:
        """Operations done / published peak of the chips used, 0 to 1."""
        peak = self.interval_s * self.chips * self.chip.peak_tops * 1e12
        return self.operations / peak if peak else 0.0

    @property
    def energy_published_j(self) -> float:
        """One frame at the chip's published efficiency, as a check of `energy`."""
        return self.operations / (self.chip.peak_tops_per_w * 1e12)

    @property
    def energy_range_j(self) -> tuple[float, float]:
        """One frame if unused rows and columns took nothing, and if every array worked as a whole."""
        used, whole = (
            Energy.of(self.activity, self.chip, digital_macs=self.digital.macs, unused_share=share).total
            for share in (0.0, 1.0)
        )
        return used, whole

    @property
    def area_mm2(self) -> float:
        """Of the chips used."""
        return self.chips * self.chip.chip_area_mm2


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
    plan = passes(stages, chips * chip.arrays_per_chip)
    intervals = tuple(_interval_s(one, chip, chips) for one in plan)
    frame = _frame_time(plan, chip, chips)
    activity = Activity.of(analog, workload, chip)
    energy = Energy.of(activity, chip, digital_macs=sum(stage.digital_macs for stage in stages))
    return ChipCost(
        chip=chip,
        workload=workload,
        frames=frames,
        chips=chips,
        arrays=sum(stage.arrays for stage in stages),
        operations=2 * sum(work.macs for name, work in workload.layers.items() if name in analog),
        passes=plan,
        intervals_s=intervals,
        frame=frame,
        load_s=load_reference().load_s,
        filling=Filling.of(report, chip),
        activity=activity,
        energy=energy,
        digital=_digital(
            _digital_parts(report, stages), workload, frame, energy,
            sets_interval=any(i > one.interval * chip.product_s for i, one in zip(intervals, plan, strict=True)),
        ),
        programming=programming_cost(report, chip, chips=chips, copies=_copies(plan)),
    )  # fmt: skip


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
    digital = {SIDE_PATHS: workload.side_macs, OTHER: workload.other_macs}
    return stages + [
        Stage(name=name, arrays=0, products=0, digital_macs=macs) for name, macs in digital.items() if macs
    ]


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


def _digital_parts(report: MappingReport, stages: Sequence[Stage]) -> tuple[DigitalPart, ...]:
    reasons = {layer.name: layer.reason for layer in report.layers} | {
        OTHER: "products of activations, as in attention",
        SIDE_PATHS: "low-rank adapters beside the layers",
    }
    return tuple(
        DigitalPart(name=stage.name, reason=reasons.get(stage.name, ""), macs=stage.digital_macs)
        for stage in stages
        if stage.digital_macs
    )


def _digital(
    parts: tuple[DigitalPart, ...], workload: Workload, frame: FrameTime, energy: Energy, *, sets_interval: bool
) -> DigitalShare:
    macs = sum(part.macs for part in parts)
    return DigitalShare(
        parts=parts,
        macs=macs,
        macs_share=macs / workload.macs if workload.macs else 0.0,
        time_s=frame.digital,
        time_share=frame.digital / frame.total if frame.total else 0.0,
        energy_j=energy.digital,
        energy_share=energy.digital / energy.total if energy.total else 0.0,
        sets_interval=sets_interval,
    )
