"""The cells of a grid: what its file says, turned into configurations that can run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.names import file_part
from nestevo_hw.evolution.config import RunConfig, load_config, load_preset, parse_config
from nestevo_hw.studies.compare.grid.spec import BASE, Axis, Change, GridSpec, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One comparison."""

    folder: str
    """In that of the grid."""
    config: RunConfig
    source: str
    """Which lines of the grid's file make it, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value of an axis, or two of a pair of axes, and the cell that stands for it."""

    axis: str
    """What varies, for people."""
    value: str
    cell: Cell
    scored: tuple[str, ...]
    """Terminals whose accuracy counts."""


def open_grid(spec: GridSpec, path: Path) -> list[Row]:
    """Every row of a grid, in the order of its file; those that change nothing share one cell.

    Args:
        spec: what the file says.
        path: of the file, beside which its base lies.

    Raises:
        ConfigError: the base or a cell is no valid configuration, or a change names what is not there.
    """
    try:
        base = load_config(path.parent / spec.base) if spec.base.endswith(".toml") else load_preset(spec.base)
    except ConfigError as error:
        raise ConfigError(f"{path}: base: {error}") from error
    source = f"{path}: all"
    cells: list[Cell] = [Cell(folder=BASE, config=_changed(base, [spec.all], source), source=source)]

    def row(*places: tuple[Axis, Value]) -> Row:
        source = f"{path}: axes.{'+'.join(f'{axis.name}.{value.name}' for axis, value in places)}"
        config = _changed(base, [spec.all, *(value for _, value in places)], source)
        return _row(cells, config, source, places)

    rows = [row((axis, value)) for axis in spec.axes for value in axis.values]
    axes = {axis.name: axis for axis in spec.axes}
    for first, second in spec.cross:
        pairs = [((axes[first], a), (axes[second], b)) for a in axes[first].values for b in axes[second].values]
        rows += [row(*pair) for pair in pairs]
    return rows


def cells_of(rows: Sequence[Row]) -> list[Cell]:
    """Their cells, each once."""
    return list({row.cell.folder: row.cell for row in rows}.values())


def chosen_axes(spec: GridSpec, names: Collection[str]) -> GridSpec:
    """The same grid with some of its axes only, and the pairs of these.

    Raises:
        ConfigError: an axis that does not exist.
    """
    known = [axis.name for axis in spec.axes]
    odd = next((name for name in names if name not in known), None)
    if odd is not None or not names:
        unknown = "name at least one" if odd is None else f"unknown axis {odd!r}"
        raise ConfigError(f"--axes: {unknown}; choose from {', '.join(known)}")
    cross = tuple(pair for pair in spec.cross if set(pair) <= set(names))
    return replace(spec, axes=tuple(axis for axis in spec.axes if axis.name in names), cross=cross)


def _row(cells: list[Cell], config: RunConfig, source: str, places: Sequence[tuple[Axis, Value]]) -> Row:
    """The row of one value of each of some axes; a new cell is added to `cells`."""
    scored = next((value.scored for _, value in places if value.scored), ())
    names = [terminal.name for terminal in config.terminals]
    odd = next((name for name in scored if name not in names), None)
    if odd is not None:
        raise ConfigError(f"{source}.scored: no terminal {odd!r}; there are {', '.join(names)}")
    cell = next((cell for cell in cells if cell.config == config), None)
    if cell is None:
        folder = "+".join(f"{axis.name}-{file_part(value.name)}" for axis, value in places)
        taken = next((cell for cell in cells if cell.folder == folder), None)
        if taken is not None:
            raise ConfigError(f"{source}: its folder would be {folder}, as that of {taken.source}; rename one of them")
        cell = Cell(folder=folder, config=config, source=source)
        cells.append(cell)
    axis_text, value_text = " x ".join(axis.text for axis, _ in places), ", ".join(value.name for _, value in places)
    return Row(axis=axis_text, value=value_text, cell=cell, scored=scored or tuple(names))


def _changed(base: RunConfig, changes: Sequence[Change], source: str) -> RunConfig:
    """The base with changes one after another; how many terminals there are is said by the last that says it."""
    document = base.document()
    terminals = document.pop("terminals")
    count = next((change.terminals for change in reversed(changes) if change.terminals is not None), len(terminals))
    terminals = list(_counted(terminals, count, source))
    for change in changes:
        _check(change, [terminal["name"] for terminal in terminals], source)
        terminals = [{**terminal, **change.each, **change.one.get(terminal["name"], {})} for terminal in terminals]
        document = _merged(document, change.set)
    return parse_config({**document, "terminals": terminals}, source=source)


def _check(change: Change, names: Sequence[str], source: str) -> None:
    if "terminals" in change.set:
        raise ConfigError(f"{source}: set holds no terminals; change these by terminals, each and one")
    odd = next((name for name in change.one if name not in names), None)
    if odd is not None:
        raise ConfigError(f"{source}: one.{odd}: no such terminal; there are {', '.join(names)}")


def _counted(terminals: Sequence[dict[str, Any]], count: int, source: str) -> Iterator[dict[str, Any]]:
    for number in range(count):
        turn, place = divmod(number, len(terminals))
        terminal = terminals[place]
        if turn and terminal["place"] is None:
            raise ConfigError(
                f"{source}: terminals = {count}: the base has {len(terminals)}, and {terminal['name']!r} shows a "
                "recording that a further camera could only repeat; lower it, or add terminals to the base"
            )
        yield {**terminal, "name": f"{terminal['name']}-{turn + 1}"} if turn else terminal


def _merged(document: Mapping[str, Any], piece: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in piece.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
