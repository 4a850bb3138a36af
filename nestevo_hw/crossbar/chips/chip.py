"""Published chips as data: arrays, converters, energies and programming, every figure with its source and kind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.bands import groups_per_band

Kind = Literal["silicon", "design study", "derived", "assumption"]
"""silicon: measured on a chip; design study: simulated by its authors; derived: computed here from such figures;
assumption: ours, because nobody published it."""
Encoding = Literal["pairs", "offset"]
"""How cells that hold no negative values store a signed weight: as the difference of two, or with an offset that is
subtracted after the product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Where one number comes from."""

    value: float
    kind: Kind
    source: str
    """Full citation; empty only for an assumption without one."""
    note: str = ""
    """Where in the source, how it was derived, or why it was assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """An analog in-memory-computing chip. Numbers carry their unit in the name, their source in `figures`.

    A weight takes `rows_per_weight` x `columns_per_weight` cells of an array, and a cell may hold several devices.
    A product of an array with one input vector takes `input_cycles` read cycles; in each, every column is converted
    once by the array's ADCs while the next cycle is read.
    """

    name: str
    title: str
    memory: str
    """Memory technology of the cells."""
    device: str = "pcm"
    """The simulated device that is nearest to its cells, `crossbar.devices.PRESETS`."""
    encoding: Encoding = "pairs"
    mode: str = ""
    """The reading mode that the figures are for; empty where only one is published."""
    default_mode: str = ""
    """The reading mode whose accuracy the simulated devices assume."""
    mode_note: str = ""
    """What the mode reads, and how it is related to the accuracy that is simulated."""
    others: "tuple[Chip, ...]" = field(default=(), repr=False)
    """The same chip in its other reading modes."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know about the chip."""
    figures: Mapping[str, Figure] = field(default_factory=dict, repr=False)
    """Source and kind of every number below, by its name."""

    array_rows: int
    array_columns: int
    rows_per_weight: int
    columns_per_weight: int
    devices_per_cell: int
    sum_columns: int = 0
    """Columns of an array, beside `array_columns`, that sum its inputs: an offset is subtracted with them. They hold
    ones for good, so they are converted in every cycle and never written with a model."""
    weight_bits: int | None = None
    """Bits of a weight that several cells hold; None where one analog cell, or pair, does."""
    cell_bits: int | None = None
    arrays_per_chip: int
    input_cycles: int
    """Read cycles of one product: the input bits where they are applied one by one, or the phases of a read."""
    input_bits: int
    output_bits: int
    """Bits of a value as it is stored between layers."""
    array_read_ns: float
    """One read cycle of an array."""
    adc_ns: float
    """One conversion of one ADC."""
    adcs_per_array: int
    adc_bits: int | None = None
    """Bits of one conversion; None where they are not published."""
    pipeline_cycles: int
    """Read cycles from a layer's first input to its first output beyond those of the product."""

    array_energy_pj: float
    """One read cycle of one array, and everything below that is not published apart from it."""
    adc_energy_pj: float | None = None
    """One conversion; None if contained in `array_energy_pj`."""
    dac_energy_pj: float | None = None
    """One row in one read cycle; None if contained in `array_energy_pj`."""
    accumulate_energy_pj: float | None = None
    """Shift and add of one conversion; None if contained in `array_energy_pj`."""
    unused_share: float = 1.0
    """What the unused rows and columns of an array that is read take of their share of its energy, 0 to 1: 1 where the
    array works as a whole, however little of it a layer fills, 0 where they are switched off."""
    buffer_energy_pj_per_byte: float
    """One byte into or out of the buffers between layers, network on the chip included."""
    digital_energy_pj_per_mac: float
    """One multiply-accumulate of a layer that stays digital."""
    digital_gmac_per_s: float
    """Multiply-accumulates of digital layers that one chip does, 1e9 per second."""

    peak_tops: float
    """Published peak of one chip, 1e12 operations per second; a multiply-accumulate is two."""
    peak_tops_per_w: float
    chip_power_w: float
    chip_area_mm2: float

    program_pulses: float
    """Program-and-verify pulses that one device takes, mean."""
    program_rounds: float
    """Pulses until a group written together is done; more than the mean, because the slowest device decides."""
    program_pulse_us: float
    """One pulse with its verify read."""
    program_energy_pj: float
    """One pulse with its verify read, one device."""
    devices_in_parallel: int
    """Devices of one array that are written together."""
    arrays_in_parallel: int
    """Arrays of one chip that are written together."""
    endurance_pulses: float
    """Pulses that a device survives."""

    def __post_init__(self) -> None:
        if (self.weight_bits is None) != (self.cell_bits is None):
            raise ConfigError(f"chip {self.name}: give both weight_bits and cell_bits, or neither")
        if self.rows_per_weight > self.array_rows or self.columns_per_weight > self.array_columns:
            raise ConfigError(f"chip {self.name}: a weight does not fit into an array")
        if self.arrays_in_parallel > self.arrays_per_chip:
            raise ConfigError(
                f"chip {self.name}: need arrays_in_parallel of at most arrays_per_chip = {self.arrays_per_chip}, "
                f"got {self.arrays_in_parallel}"
            )
        if self.program_rounds < self.program_pulses:
            raise ConfigError(
                f"chip {self.name}: need program_rounds of program_pulses = {self.program_pulses} or more, "
                f"got {self.program_rounds}"
            )

    @property
    def label(self) -> str:
        """Title with the reading mode."""
        return f"{self.title}, {self.mode} read" if self.mode else self.title

    @property
    def weight_rows(self) -> int:
        """Inputs of one array."""
        return self.array_rows // self.rows_per_weight

    @property
    def weight_columns(self) -> int:
        """Outputs of one array."""
        return self.array_columns // self.columns_per_weight

    @property
    def devices_per_weight(self) -> int:
        """Devices that hold one weight."""
        return self.rows_per_weight * self.columns_per_weight * self.devices_per_cell

    @property
    def cycle_s(self) -> float:
        """One read cycle in a pipeline: the array or its ADCs, whichever takes longer, seconds."""
        conversions = -(-(self.array_columns + self.sum_columns) // self.adcs_per_array)
        return max(self.array_read_ns, conversions * self.adc_ns) * 1e-9

    @property
    def product_s(self) -> float:
        """One product of an array with an input vector, seconds."""
        return self.input_cycles * self.cycle_s

    def blocks(self, rows: int, columns: int, groups: int = 1) -> tuple[int, int, int]:
        """Arrays that hold a matrix once: bands on the diagonal, arrays along the rows and along the columns of each.

        Args:
            rows: inputs of one group.
            columns: outputs of one group.
            groups: matrices on the diagonal.
        """
        together = groups_per_band(groups, rows, columns, self.weight_rows, self.weight_columns)
        row_blocks = -(-together * rows // self.weight_rows)
        return groups // together, row_blocks, -(-together * columns // self.weight_columns)

    def arrays(self, rows: int, columns: int, groups: int = 1) -> int:
        """Arrays that hold a matrix once; see `blocks`."""
        return math.prod(self.blocks(rows, columns, groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitalReference:
    """A digital machine with one measured workload, which others are scaled from by their operations."""

    name: str
    title: str
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict, repr=False)
    frame_s: float
    """Measured time of a frame of the reference workload."""
    load_s: float
    """Measured time to load the model."""
    reference_gmac: float
    """Multiply-accumulates of the reference workload, 1e9."""
    board_power_w: float
