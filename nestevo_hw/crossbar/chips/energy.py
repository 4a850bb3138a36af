"""What the arrays do in a frame, how full they are, and the energy of both: modelled from a chip's figures."""

from collections.abc import Set
from dataclasses import dataclass

from nestevo_hw.crossbar.chips.chip import Chip
from nestevo_hw.crossbar.chips.workload import Workload
from nestevo_hw.crossbar.mapping import MappingReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How much of the arrays of one copy a model uses, 0 to 1."""

    rows: float
    columns: float
    cells: float
    """That hold a weight; lower than both where a layer's matrix is block-diagonal."""

    @classmethod
    def of(cls, report: MappingReport, chip: Chip) -> "Filling":
        """The filling of the arrays that hold the analog layers of `report` once."""
        arrays = rows = columns = cells = 0
        for layer in report.analog:
            bands, row_blocks, column_blocks = chip.blocks(*layer.matrix, layer.groups)
            inputs, outputs = (layer.groups * side for side in layer.matrix)
            arrays += bands * row_blocks * column_blocks
            rows += column_blocks * inputs * chip.rows_per_weight
            columns += row_blocks * outputs * chip.columns_per_weight
            cells += layer.parameters * chip.rows_per_weight * chip.columns_per_weight
        return cls(
            rows=rows / (arrays * chip.array_rows),
            columns=columns / (arrays * chip.array_columns),
            cells=cells / (arrays * chip.array_rows * chip.array_columns),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the arrays do in one frame. "Used" counts the rows and columns that hold a part of a layer.

    The columns that sum an array's inputs are used whatever a layer leaves empty.
    """

    reads: int
    """Read cycles, each of one array."""
    reads_used: float
    """The same, each counted by the share of its array that lies in used rows and used columns."""
    conversions: int
    """Of the ADCs, all columns of an array that is read."""
    conversions_used: int
    drives: int
    """Of the rows by the DACs, all rows of an array that is read."""
    drives_used: int
    bits: int
    """Into and out of the buffers."""

    @classmethod
    def of(cls, analog: Set[str], workload: Workload, chip: Chip) -> "Activity":
        """The activity of the layers `analog` of a workload.

        Every product reads all arrays of its layer `input_cycles` times. Inputs are fetched and outputs stored once a
        product; overlapping windows are fetched again.
        """
        reads = conversions = drives = bits = 0
        area = 0.0
        for name, work in workload.layers.items():
            if name not in analog:
                continue
            bands, row_blocks, column_blocks = chip.blocks(work.rows, work.columns, work.groups)
            inputs, outputs = work.groups * work.rows, work.groups * work.columns
            rows, columns = inputs * chip.rows_per_weight, outputs * chip.columns_per_weight
            cycles = work.products * chip.input_cycles
            arrays = bands * row_blocks * column_blocks
            reads += cycles * arrays
            area += cycles * rows * columns / bands
            conversions += cycles * (row_blocks * columns + arrays * chip.sum_columns)
            drives += cycles * column_blocks * rows
            bits += work.products * (inputs * chip.input_bits + outputs * chip.output_bits)
        return cls(
            reads=reads,
            reads_used=area / (chip.array_rows * chip.array_columns),
            conversions=reads * (chip.array_columns + chip.sum_columns),
            conversions_used=conversions,
            drives=reads * chip.array_rows,
            drives_used=drives,
            bits=bits,
        )


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

    @classmethod
    def of(cls, activity: Activity, chip: Chip, *, digital_macs: int, unused_share: float | None = None) -> "Energy":
        """Energy of a frame.

        Arrays without work are taken to be switched off, and the digital layers' own memory traffic is not counted.

        Args:
            activity: of the arrays.
            chip: its figures.
            digital_macs: multiply-accumulates beside the arrays.
            unused_share: what unused rows and columns take, 0 to 1; None: as the chip has it.
        """
        share = chip.unused_share if unused_share is None else unused_share

        def joules(picojoules: float, used: float, everything: float) -> float:
            return picojoules * 1e-12 * (used + share * (everything - used))

        def converting(picojoules: float | None) -> float | None:
            return None if picojoules is None else joules(picojoules, activity.conversions_used, activity.conversions)

        dac = chip.dac_energy_pj
        return cls(
            arrays=joules(chip.array_energy_pj, activity.reads_used, activity.reads),
            adc=converting(chip.adc_energy_pj),
            dac=None if dac is None else joules(dac, activity.drives_used, activity.drives),
            accumulate=converting(chip.accumulate_energy_pj),
            buffers=chip.buffer_energy_pj_per_byte * 1e-12 * activity.bits / 8,
            digital=chip.digital_energy_pj_per_mac * 1e-12 * digital_macs,
        )
