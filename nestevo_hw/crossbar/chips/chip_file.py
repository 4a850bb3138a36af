"""Chips from files: the shipped ones and a user's own, with every reading mode a chip has."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from nestevo_hw.base.documents import parse_toml
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.files import read_text
from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.crossbar.chips import CHIPS, DATA, REFERENCE
from nestevo_hw.crossbar.chips.chip import Chip, DigitalReference, Encoding, Figure, Kind

_TEXTS = {"name", "title", "memory", "device", "encoding"}
_NO_FIGURES = _TEXTS | {"notes", "figures", "mode", "default_mode", "mode_note", "others"}
_MOST, _MOST_COUNT = 1e18, 10**9
"""Of any figure, and of a number of things."""
_SHARES = {"unused_share"}
_MAY_BE_ZERO = {"pipeline_cycles", "sum_columns", "load_s", "digital_energy_pj_per_mac", "buffer_energy_pj_per_byte"}


def load_chip(name: str, mode: str | None = None) -> Chip:
    """An analog chip by name, or from a TOML file of the same form as the shipped ones.

    Args:
        name: one of `CHIPS`, or the path of a file that ends in .toml.
        mode: one of its reading modes; None: its default, whose accuracy the simulated devices assume.

    Raises:
        ConfigError: no such chip or mode, or a key that is unknown, missing, negative or without source.
        InputError: the file cannot be read.
    """
    chip = _by_name(name)
    every = (chip, *chip.others)
    if mode is None or mode == chip.mode:
        return chip
    found = next((one for one in every if one.mode == mode and mode), None)
    if found is None:
        known = f"choose from {', '.join(one.mode for one in every)}" if chip.mode else "it has only one"
        raise ConfigError(f"chip {name} has no reading mode {mode!r}; {known}")
    return replace(found, others=tuple(replace(one, others=()) for one in every if one.mode != mode))


def _by_name(name: str) -> Chip:
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
    place = f"chip {REFERENCE}"
    text = (DATA / f"{REFERENCE}.toml").read_text(encoding="utf-8")
    document = parse_toml(text, dict[str, Any], place, error=ConfigError)
    return DigitalReference(**_entries(document, place, DigitalReference))


@cache
def _shipped(name: str) -> Chip:
    return _chip(chip_text(name), f"chip {name}")


def chip_text(name: str) -> str:
    """The file of a shipped chip, as a start for one of your own."""
    return (DATA / "chips" / f"{name}.toml").read_text(encoding="utf-8")


def _chip(text: str, place: str) -> Chip:
    document = parse_toml(text, dict[str, Any], place, error=ConfigError)
    modes, default = _section(document, "modes", place), document.pop("mode", None)
    if not modes and default is None:
        return Chip(**_entries(document, place, Chip))
    if not isinstance(default, str) or default not in modes:
        known = ", ".join(modes) or "none"
        raise ConfigError(
            f"{place}: mode: need the default of the reading modes [modes.NAME] ({known}), got {default!r}"
        )
    chips = {name: replace(_in_mode(document, name, modes, place), default_mode=default) for name in modes}
    others = tuple(chip for name, chip in chips.items() if name != default)
    return replace(chips[default], others=others)


def _in_mode(document: dict[str, Any], name: str, modes: dict[str, Any], place: str) -> Chip:
    """The chip with the figures of one reading mode in place of those that all share."""
    own = _section(dict(modes), name, f"{place}: modes")
    note = own.pop("note", None)
    if not isinstance(note, str):
        raise ConfigError(f"{place}: modes: {name}: say in note what it reads, and whether its accuracy is simulated")
    shared = _section(dict(document), "figures", place)
    entries = _entries({**document, "figures": {**shared, **own}}, place, Chip)
    return Chip(**entries, mode=name, mode_note=note)


def _entries(document: Mapping[str, Any], place: str, form: type[Chip] | type[DigitalReference]) -> dict[str, Any]:
    """Arguments of `form` from a TOML document, checked."""
    texts = dict(document)
    sources, table = _section(texts, "sources", place), _section(texts, "figures", place)
    notes = tuple(_texts(texts.pop("notes", []), place))
    known: dict[str, Field[Any]] = {entry.name: entry for entry in fields(form)}
    for key in (*(set(texts) - (set(known) & _TEXTS)), *(set(table) - (set(known) - _NO_FIGURES))):
        raise ConfigError(f"{place}: unknown key {key!r}")
    figures = {key: _figure(entry, sources, f"{place}: {key}") for key, entry in table.items()}
    values: dict[str, Any] = {"notes": notes, "figures": figures}
    for key, text_value in texts.items():
        if not isinstance(text_value, str):
            raise ConfigError(f"{place}: {key}: need a text, got {text_value!r}")
        values[key] = text_value
    if "encoding" in values and values["encoding"] not in get_args(Encoding):
        raise ConfigError(f"{place}: encoding: need {' or '.join(get_args(Encoding))}, got {values['encoding']!r}")
    for key, figure in figures.items():
        values[key] = _number(figure.value, key, f"{place}: {key}", whole=known[key].type in (int, int | None))
    for key, entry in known.items():
        if key not in values and entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"{place}: {key} is missing")
    return values


def _section(document: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    """A table of the document, taken out of it."""
    section = document.pop(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{place}: {name}: need a table [{name}], got {section!r}")
    return dict(section)


def _texts(notes: object, place: str) -> list[str]:
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ConfigError(f"{place}: notes: need a list of texts, got {notes!r}")
    return notes


def _number(value: float, key: str, place: str, *, whole: bool) -> float:
    most = _MOST_COUNT if whole else _MOST
    allowed = SHARE if key in _SHARES else Range(0, most, above=key not in _MAY_BE_ZERO)
    allowed.require(value, place)
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
