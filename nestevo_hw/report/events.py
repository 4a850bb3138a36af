"""A run folder as typed records: run.json (what was asked) and metrics.jsonl (what happened)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from nestevo_hw.base.documents import parse, read_json
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.jsonlines import read_lines
from nestevo_hw.base.locking import is_written
from nestevo_hw.base.text import pasteable
from nestevo_hw.report.records.event import Event, event_name
from nestevo_hw.report.records.teacher import Drift
from nestevo_hw.report.records.terminal import Accuracy

FORMAT = 2
"""Version of the run folder's layout that this module reads."""
_KINDS: Mapping[str, type[Event]] = {event_name(kind): kind for kind in get_args(Event)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKind:
    """How tasks of one kind are shown."""

    wording: str
    """What they do, in a short phrase."""
    colour: str = "other"
    """Name of a Palette attribute."""
    resource: str = ""
    """What they run on: cpu, gpu or crossbar."""


Status = Literal["running", "complete", "failed", "refused", "stopped"]
"""Of a run: "running" as well where the process was killed, which could not say so; "refused" where its configuration
turned out to be one that cannot be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """run.json: what was asked, of which software, on which machine."""

    format: int
    status: Status
    ended: str = ""
    """Why a run that failed, was refused or stopped ended."""
    method: str
    config: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    metric: str = "score"
    """Headline score of the run's vision task."""
    second_metric: tuple[str, str] = ("", "")
    """Key among the metrics, and name, of the stricter score that stands beside it; empty where there is none."""
    kinds: dict[str, TaskKind] = field(default_factory=dict)
    """Kinds of task by name."""
    impression: bool = False
    """Whether the configuration was cut down by `evolve --quick`."""
    summary: dict[str, Any] | None = None


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
    def state(self) -> str:
        """Its status, or "killed" where no process writes it any more without having said why."""
        if self.header.status == "running" and not is_written(self.directory):
            return "killed"
        return self.header.status

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
    header = read_header(directory)
    path = directory / "metrics.jsonl"
    running = header.status != "complete"
    if not path.is_file():
        if running:
            return Run(directory=directory, header=header, events=())
        advice = f"`nestevo-hw evolve --resume {pasteable(directory)}` makes it again"
        raise InputError(f"{directory} holds no metrics.jsonl although its run is complete; {advice}")
    advice = f"delete it and run `nestevo-hw evolve --resume {pasteable(directory)}`, which makes it again"
    lines = read_lines(path, dict[str, Any], growing=running, advice=advice)
    events = (_event(place, record) for place, record in lines)
    return Run(directory=directory, header=header, events=tuple(e for e in events if e is not None))


def read_header(directory: Path, *, advice: str = "give the folder that `nestevo-hw evolve` wrote") -> Header:
    """What the run.json of a run folder says.

    Args:
        directory: of the run.
        advice: what to do if it is damaged.

    Raises:
        InputError: it is missing, unreadable, or of another format.
    """
    path = directory / "run.json"
    document = read_json(path, dict[str, Any], advice=advice)
    if document.get("format") != FORMAT:
        got = document.get("format")
        raise InputError(f"{path}: expected format {FORMAT} but got {got}; use the version that wrote it")
    header = parse(document, Header, str(path), advice=advice)
    parse({"config": header.config}, _Configured, str(path), advice=advice)
    return header


def _event(place: str, record: dict[str, Any]) -> Event | None:
    """The event of one line; None for a kind that this version does not know."""
    kind = _KINDS.get(parse(record, _Named, place).event)
    return None if kind is None else parse(record, kind, place)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """The beginning of every line."""

    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terminal:
    name: str
    drift: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sections:
    """What pages look for in a configuration, as far as it is there."""

    terminals: list[_Terminal] = field(default_factory=list)
    window: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    refresh: dict[str, Any] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Configured:
    config: _Sections
