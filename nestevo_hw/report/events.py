"""A run folder as typed records: run.json (what was asked) and metrics.jsonl (what happened)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from nestevo_hw.base.errors import InputError
from nestevo_hw.report.records import Accuracy, Drift, Event, TaskRun

FORMAT = 1
"""Version of the run folder's layout that this module reads."""
_READERS: Mapping[str, TypeAdapter[Event]] = {
    "task" if kind is TaskRun else kind.__name__.lower(): TypeAdapter(kind) for kind in get_args(Event)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """How tasks of one kind are shown."""

    wording: str
    """What they do, in a short phrase."""
    colour: str = "other"
    """Name of a Palette attribute."""
    resource: str = ""
    """What they run on: cpu, gpu or crossbar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """run.json: what was asked, of which software, on which machine."""

    format: int
    status: str
    """"running" or "complete"."""
    method: str
    config: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    metric: str = "score"
    """Headline score of the run's vision task."""
    kinds: dict[str, TaskKind] = field(default_factory=dict)
    """Kinds of task by name."""
    summary: dict[str, Any] | None = None


_HEADER = TypeAdapter(Header)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything a run folder says, complete or so far."""

    directory: Path
    header: Header
    events: tuple[Event, ...]

    @property
    def complete(self) -> bool:
        """Whether the run reached its end."""
        return self.header.status == "complete"

    @property
    def terminals(self) -> tuple[str, ...]:
        """Names of the terminals, in the configuration's order, else in order of appearance."""
        named = [t["name"] for t in terminal_configs(self.header.config)]
        seen = [e.scene for e in self.of(Accuracy)] + [e.terminal for e in self.of(Drift)]
        return tuple(dict.fromkeys(named + seen))

    @property
    def windows(self) -> int:
        """Number of windows that left a trace."""
        return max((e.window for e in self.events), default=-1) + 1

    def kind(self, name: str) -> TaskKind:
        """A kind of task; a neutral one, called by its name, where the header does not know it."""
        return self.header.kinds.get(name) or TaskKind(wording=name)

    def of[E: Event](self, kind: type[E]) -> tuple[E, ...]:
        """Events of one kind, in the order in which they happened."""
        return tuple(e for e in self.events if isinstance(e, kind))


def terminal_configs(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The terminals of a configuration document that have a name; an empty list where it has none."""
    terminals = config.get("terminals")
    if not isinstance(terminals, list):
        return []
    return [t for t in terminals if isinstance(t, dict) and isinstance(t.get("name"), str)]


def read_run(directory: Path) -> Run:
    """Read a run folder, complete or not.

    Args:
        directory: folder that holds run.json and metrics.jsonl.

    Raises:
        InputError: a file is missing, unreadable, or of another format.
    """
    header = _read_header(directory)
    path = directory / "metrics.jsonl"
    running = header.status != "complete"
    if not path.is_file():
        if running:
            return Run(directory=directory, header=header, events=())
        raise InputError(f"{directory} holds no metrics.jsonl although its run is complete; run it again")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    events = []
    for number, line in enumerate(lines, start=1):
        # A run that is being written, or was killed, may end in half a line.
        if running and number == len(lines) and not _is_json(line):
            break
        if line.strip():
            events.append(_read_event(line, f"{path}, line {number}"))
    return Run(directory=directory, header=header, events=tuple(e for e in events if e is not None))


def _read_header(directory: Path) -> Header:
    path = directory / "run.json"
    if not path.is_file():
        raise InputError(f"no run.json in {directory}; give the folder that `nestevo-hw evolve` wrote")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: expected format {FORMAT} but got {found}; use the version that wrote it")
    try:
        return _HEADER.validate_python(document)
    except ValidationError as error:
        raise InputError(f"{path}: {_first(error)}") from error


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _read_event(line: str, place: str) -> Event | None:
    """The event of one line; None for a kind that this version does not know."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(f"{place}: not valid JSON: {error}") from error
    if not isinstance(record, dict) or "event" not in record:
        raise InputError(f'{place}: expected an object with the key "event"')
    reader = _READERS.get(str(record["event"]))
    if reader is None:
        return None
    try:
        return reader.validate_python(record)
    except ValidationError as error:
        raise InputError(f"{place}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    place = ".".join(str(part) for part in detail["loc"]) or "top level"
    return f"{place}: {detail['msg'].lower()} (got {detail['input']!r:.60})"
