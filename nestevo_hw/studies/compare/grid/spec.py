"""A grid of comparisons as its file has it: a base configuration, and axes that change it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from nestevo_hw.base.documents import forbid_unknown_keys, read_toml
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.names import check_distinct, check_name, file_part
from nestevo_hw.base.ranges import Range
from nestevo_hw.evolution.config import MOST_TERMINALS
from nestevo_hw.studies.compare.variants import A4_CONFIRMED

BASE = "base"
"""Name of the cell that changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a cell has otherwise than the base."""

    terminals: Annotated[int, Range(1, MOST_TERMINALS)] | None = None
    """How many: the first ones of the base, and then the same under further names, NAME-2."""
    set: Mapping[str, Any] = field(default_factory=dict)
    """A piece of configuration without terminals; tables are merged, other values replaced."""
    each: Mapping[str, Any] = field(default_factory=dict)
    """Keys of every terminal."""
    one: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys of single terminals, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(Change):
    """One place of an axis."""

    name: str
    """As tables show it; it names the folder too."""
    scored: tuple[str, ...] = ()
    """Terminals whose accuracy counts; none named: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One factor, whose values change the base one at a time."""

    name: str
    """For options and folders."""
    text: str
    """What it is, for people."""
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "axes.name")
        if self.name == BASE or not self.values:
            raise ConfigError(f"axes.{self.name}: need a name other than {BASE!r} and at least one of [[axes.values]]")
        if not all(value.name.strip() for value in self.values):
            raise ConfigError(f"axes.{self.name}.values.name: one is empty; tables show it and folders are named by it")
        check_distinct([file_part(v.name) for v in self.values], f"axes.{self.name}.values.name")


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSpec:
    """A base, its axes, and what to compare in every cell."""

    base: str
    """A configuration beside the grid's file (NAME.toml), or a preset."""
    axes: tuple[Axis, ...]
    methods: tuple[str, ...]
    """Methods and ablations of `nestevo-hw compare`."""
    against: str = A4_CONFIRMED
    """From which of them the others' differences are taken."""
    seeds: Annotated[int, Range(1, 1000)] = 3
    """In every cell, counted up from the base's."""
    all: Change = Change()
    """What every cell has otherwise than the base."""
    cross: tuple[tuple[str, str], ...] = ()
    """Pairs of axes whose values are combined as well."""

    def __post_init__(self) -> None:
        check_distinct([axis.name for axis in self.axes], "axes.name")
        known = [axis.name for axis in self.axes]
        if not known:
            raise ConfigError("axes: nothing varies; give at least one of [[axes]]")
        odd = next((name for pair in self.cross for name in pair if name not in known), None)
        if odd is not None:
            raise ConfigError(f"cross: unknown axis {odd!r}; choose from {', '.join(known)}")
        twin = next((first for first, second in self.cross if first == second), None)
        if twin is not None:
            raise ConfigError(f"cross: {twin!r} with itself gives nothing new; name two axes")
        if self.against not in self.methods:
            raise ConfigError(f"against: {self.against!r} is none of methods ({', '.join(self.methods)}); add it there")


forbid_unknown_keys(GridSpec)


def load_spec(path: Path) -> GridSpec:
    """Read a grid's TOML file.

    Raises:
        ConfigError: it is missing, not TOML, or not a grid.
    """
    return read_toml(path, GridSpec, error=ConfigError)
