"""Published chips as data: arrays, converters, energies and programming, every figure with its source and kind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from nestevo_hw.base.documents import parse_toml
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.files import read_text
from nestevo_hw.base.ranges import Range
from nestevo_hw.crossbar.bands import groups_per_band
from nestevo_hw.crossbar.chips import CHIPS, DATA, REFERENCE

Kind = Literal["silicon", "design study", "derived", "assumption"]
"""silicon: measured on a chip; design study: simulated by its authors; derived: computed here from such figures;
assumption: ours, because nobody published it."""


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
    notes: tuple[str, ...] = ()
    """What a reader of the results must know about the chip."""
    figures: Mapping[str, Figure] = field(default_factory=dict, repr=False)
    """Source and kind of every number below, by its name."""

    array_rows: int
    array_columns: int
    rows_per_weight: int
    columns_per_weight: int
    devices_per_cell: int
    arrays_per_chip: int
    input_cycles: int
    """Read cycles of one product: the input bits where they are applied one by one."""
    input_bits: int
    output_bits: int
    """Bits of a value as it is stored between layers."""
    array_read_ns: float
    """One read cycle of an array."""
    adc_ns: float
    """One conversion of one ADC."""
    adcs_per_array: int
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
        conversions = -(-self.array_columns // self.adcs_per_array)
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


_WORDS = {"name", "title", "memory", "notes", "figures"}
_MOST, _MOST_COUNT = 1e18, 10**9
"""Of any figure, and of a number of things."""
_MAY_BE_ZERO = {"pipeline_cycles", "load_s", "digital_energy_pj_per_mac", "buffer_energy_pj_per_byte"}


def load_chip(name: str) -> Chip:
    """An analog chip by name, or from a TOML file of the same form as the shipped ones.

    Args:
        name: one of `CHIPS`, or the path of a file that ends in .toml.

    Raises:
        ConfigError: no such chip, or a key that is unknown, missing, negative or without source.
        InputError: the file cannot be read.
    """
    if name.endswith(".toml"):
        return _chip(read_text(Path(name)), name)
    if name == REFERENCE:
        raise ConfigError(
            f"{name} is no crossbar chip; it is the digital machine every chip is compared with, "
            f"so choose from {', '.join(CHIPS)} or give a .toml file"
        )
    if name not in CHIPS:
        raise ConfigError(f"unknown chip {name!r}; choose from {', '.join(CHIPS)} or give a .toml file")
    return _shipped(name)


@cache
def load_reference() -> DigitalReference:
    """The digital machine every chip is compared with."""
    text = (DATA / f"{REFERENCE}.toml").read_text(encoding="utf-8")
    return DigitalReference(**_entries(text, f"chip {REFERENCE}", DigitalReference))


@cache
def _shipped(name: str) -> Chip:
    return _chip(chip_text(name), f"chip {name}")


def chip_text(name: str) -> str:
    """The file of a shipped chip, as a start for one of your own."""
    return (DATA / "chips" / f"{name}.toml").read_text(encoding="utf-8")


def _chip(text: str, place: str) -> Chip:
    return Chip(**_entries(text, place, Chip))


def _entries(text: str, place: str, form: type[Chip] | type[DigitalReference]) -> dict[str, Any]:
    """Arguments of `form` from a TOML document, checked."""
    document = parse_toml(text, dict[str, Any], place, error=ConfigError)
    sources, table = _section(document, "sources", place), _section(document, "figures", place)
    known = {entry.name: entry for entry in fields(form)}
    words = {key for key in known if key in _WORDS} - {"figures"}
    for key in (*(set(document) - words), *(set(table) - (set(known) - _WORDS))):
        raise ConfigError(f"{place}: unknown key {key!r}")
    figures = {key: _figure(entry, sources, f"{place}: {key}") for key, entry in table.items()}
    values: dict[str, Any] = {"notes": tuple(_texts(document.pop("notes", []), place)), "figures": figures}
    for key, text_value in document.items():
        if not isinstance(text_value, str):
            raise ConfigError(f"{place}: {key}: need a text, got {text_value!r}")
        values[key] = text_value
    for key, figure in figures.items():
        values[key] = _number(figure.value, key, f"{place}: {key}", whole=known[key].type is int)
    for key, entry in known.items():
        if key not in values and not _optional(entry.type):
            raise ConfigError(f"{place}: {key} is missing")
    return values


def _section(document: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    section = document.pop(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{place}: {name}: need a table [{name}], got {section!r}")
    return section


def _texts(notes: object, place: str) -> list[str]:
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ConfigError(f"{place}: notes: need a list of texts, got {notes!r}")
    return notes


def _optional(annotation: object) -> bool:
    return type(None) in get_args(annotation)


def _number(value: float, key: str, place: str, *, whole: bool) -> float:
    most = _MOST_COUNT if whole else _MOST
    (Range(0, most) if key in _MAY_BE_ZERO else Range(0, most, above=True)).require(value, place)
    if whole and value != int(value):
        raise ConfigError(f"{place}: need a whole number, got {value}")
    return int(value) if whole else float(value)


def _figure(entry: object, sources: Mapping[str, str], place: str) -> Figure:
    if not isinstance(entry, dict) or isinstance(entry.get("value"), (bool, str)):
        raise ConfigError(f"{place}: need {{ value = NUMBER, kind = ..., source = ... }}")
    for key in set(entry) - {"value", "kind", "source", "note"}:
        raise ConfigError(f"{place}: unknown key {key!r}")
    value, kind, source = entry.get("value"), entry.get("kind", ""), entry.get("source", "")
    if not isinstance(value, (int, float)):
        raise ConfigError(f"{place}: value is missing")
    if kind not in get_args(Kind):
        raise ConfigError(f"{place}: need a kind of {', '.join(get_args(Kind))}, got {kind!r}")
    if source and source not in sources:
        raise ConfigError(f"{place}: source {source!r} is not a key of [sources]")
    note = str(entry.get("note", ""))
    if kind in ("silicon", "design study") and not source:
        raise ConfigError(f"{place}: a {kind} figure needs a source")
    if kind in ("derived", "assumption") and not note:
        raise ConfigError(f"{place}: say in note how it was {'derived' if kind == 'derived' else 'chosen'}")
    return Figure(value=value, kind=kind, source=sources.get(source, ""), note=note)
