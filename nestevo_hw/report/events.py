"""A run folder as typed records: run.json (what was asked) and metrics.jsonl (what happened)."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from nestevo_hw.errors import InputError

FORMAT = 1
"""Version of the run folder's layout that this module reads."""
TEACHER = "teacher"
"""Name of the global teacher among the models of a run."""


def _nan_if_missing(value: object) -> object:
    return math.nan if value is None else value


def _setup_if_missing(value: object) -> object:
    return SETUP if value is None else value


SETUP = -1
"""Window of what happens before the first one; null in the file."""
Window = Annotated[int, BeforeValidator(_setup_if_missing)]
"""Number of an evolution window, from 0, or SETUP."""
Number = Annotated[float, BeforeValidator(_nan_if_missing)]
"""A float that is NaN where the file says null: not measured, or not defined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy of one model on one terminal's test frames."""

    window: Window
    model: str
    """TEACHER or the name of a terminal."""
    scene: str
    """Terminal whose frames these are."""
    stage: Literal["before", "after", "onnx"]
    """Old model, evolved model, or the evolved model as run by ONNX Runtime."""
    map50: Number
    """Mean average precision at IoU 0.50, 0 to 1."""
    map75: Number = math.nan
    map: Number = math.nan
    """Mean over IoU 0.50 to 0.95."""
    frames: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Drift score of one terminal against its threshold (eq. 11, 12)."""

    window: Window
    terminal: str
    score: Number
    threshold: Number
    drifted: bool
    left_out: tuple[str, ...] = ()
    """Classes with too few objects to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which evolution a window asked for (eq. 13)."""

    window: Window
    drifted: int
    """Terminals that drifted."""
    epsilon: int
    """Drifted terminals from which on the teacher evolves too."""
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """Training of the data generator (Algorithm 1)."""

    window: Window
    label_loss: Number = math.nan
    emd_before: Number = math.nan
    """Earth mover's distance between the terminals' label distributions, as uploaded."""
    emd_after: Number = math.nan
    """The same with generated samples added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of scheduled work; times in seconds since the start of the run."""

    window: Window
    name: str
    kind: str
    terminal: str | None = None
    submitted_s: Number = math.nan
    started_s: Number = math.nan
    ended_s: Number = math.nan
    worker: int | None = None
    predicted_s: Number = math.nan
    predicted_bytes: Number = math.nan
    peak_bytes: Number = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A generation of the teacher written onto the crossbar."""

    window: Window
    generation: int
    device: str
    tile: int | tuple[int, int] = 0
    tiles: int | None = None
    weight_error: Number = math.nan
    """RMS error of the programmed weights, relative."""
    age_s: Number = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Guard in front of a new teacher: accuracy of old and new on held-out labelled frames."""

    window: Window
    accepted: bool
    guard_before: Number = math.nan
    guard_after: Number = math.nan
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """Life-cycle performance of one terminal over one window (eq. 6-8)."""

    window: Window
    terminal: str
    lcp: Number = math.nan
    window_s: Number = math.nan
    evolving_s: Number = math.nan
    parts: dict[str, Number] = field(default_factory=dict)
    """Parts of the evolution delay, seconds."""


Event = Accuracy | Drift | Decision | Generator | Task | Program | Deploy | Lifecycle
_READERS: Mapping[str, TypeAdapter[Event]] = {
    kind.__name__.lower(): TypeAdapter(kind)
    for kind in (Accuracy, Drift, Decision, Generator, Task, Program, Deploy, Lifecycle)
}


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

    def of[E: (Accuracy, Drift, Decision, Generator, Task, Program, Deploy, Lifecycle)](
        self, kind: type[E]
    ) -> tuple[E, ...]:
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
