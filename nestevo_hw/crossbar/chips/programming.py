"""What writing a model onto a chip costs: time, energy and wear of every new teacher (modelled)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.chips.chip import Chip
from nestevo_hw.crossbar.mapping import MappingReport

DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammingCost:
    """Writing all weights of a model once; modelled from published figures, not measured."""

    time_s: float
    """From the first pulse to the last, all chips at once."""
    energy_j: float
    """Programming pulses with their verify reads."""
    cells: int
    """Memory devices that are written."""
    writes_per_cell: float
    """Pulses that one device takes, mean."""
    lifetime_updates: float
    """Updates until the mean device has used up its endurance."""

    @property
    def cell_writes(self) -> float:
        """Pulses of all devices together."""
        return self.cells * self.writes_per_cell

    @property
    def wear(self) -> float:
        """Share of the endurance that one update uses up."""
        return 1.0 / self.lifetime_updates

    def lifetime_years(self, updates_per_day: float) -> float:
        """Years until the cells are worn out if the model is written `updates_per_day` times a day.

        Raises:
            ConfigError: a rate that is negative or not a number.
        """
        if not updates_per_day >= 0:
            raise ConfigError(f"need updates_per_day of 0 or more, got {updates_per_day}")
        return self.lifetime_updates / (updates_per_day * DAYS_A_YEAR) if updates_per_day else math.inf


def programming_cost(
    report: MappingReport, chip: Chip, *, chips: int | None = None, copies: Mapping[str, int] | None = None
) -> ProgrammingCost:
    """Time, energy and wear of writing every analog layer of `report` once.

    The arrays are counted anew for the chip's own geometry; the report's tile size does not matter. An array is
    written in groups of `devices_in_parallel`; a group waits for its slowest device (`program_rounds` pulses),
    energy and wear count the mean (`program_pulses`). Every pulse counts as one cycle of the endurance, which is
    on the safe side: most verify pulses move a device far less than the full cycles endurance is measured with.

    Args:
        report: which layers are on the crossbar.
        chip: what they are written to.
        chips: number of chips, which are written side by side; default: as few as hold the arrays.
        copies: of each layer by name, where busy layers are held more than once; default: one of each.

    Raises:
        ConfigError: no chip at all.
    """
    if chips is not None and chips < 1:
        raise ConfigError(f"need 1 chip or more, got {chips}")
    arrays = devices = fullest = 0
    for layer in report.analog:
        count = chip.arrays(*layer.matrix, layer.groups)
        held = layer.parameters * chip.devices_per_weight
        number = (copies or {}).get(layer.name, 1)
        arrays += count * number
        devices += held * number
        fullest = max(fullest, -(-held // count))  # arrays of a layer are filled evenly
    turns = -(-arrays // ((chips or -(-arrays // chip.arrays_per_chip)) * chip.arrays_in_parallel))
    groups = -(-fullest // chip.devices_in_parallel)
    return ProgrammingCost(
        time_s=turns * groups * chip.program_rounds * chip.program_pulse_us * 1e-6,
        energy_j=devices * chip.program_pulses * chip.program_energy_pj * 1e-12,
        cells=devices,
        writes_per_cell=chip.program_pulses,
        lifetime_updates=chip.endurance_pulses / chip.program_pulses,
    )
