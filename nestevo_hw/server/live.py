"""What the run folder of a server tells of its last windows, drawn anew when it has gone on."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from markupsafe import Markup

from nestevo_hw.base.errors import InputError
from nestevo_hw.pages.style import THEMED, Mark, inline_svg
from nestevo_hw.pages.tables import Table
from nestevo_hw.report import tables, timing, upkeep
from nestevo_hw.report.events import Run, read_run
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.teacher import Program
from nestevo_hw.report.records.terminal import Sense

WINDOWS = 8
"""Last windows that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Pictures and tables; empty where there is nothing to show."""

    tasks: Markup = field(default=Markup(""))
    """Which worker did what in the last window."""
    task_marks: tuple[Mark, ...] = ()
    upkeep: Markup = field(default=Markup(""))
    upkeep_marks: tuple[Mark, ...] = ()
    programmings: Table = field(default_factory=lambda: Table(heads=(), rows=[]))
    decisions: Table = field(default_factory=lambda: Table(heads=(), rows=[]))
    selections: Table = field(default_factory=lambda: Table(heads=(), rows=[]))
    paths: Table = field(default_factory=lambda: Table(heads=(), rows=[]))
    troubles: Table = field(default_factory=lambda: Table(heads=(), rows=[]))
    cameras: Table = field(default_factory=lambda: Table(heads=(), rows=[]))
    estimates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Of each terminal what it said of itself before each window, the oldest first: share of its accuracy left."""
    fault: str = ""
    """Why the run folder cannot be read."""


class LiveView:
    """The last windows of a run folder.

    Args:
        run_dir: the folder; it may not be there yet.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir, self._lock = run_dir, threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._drawn = Live()

    def __call__(self) -> Live:
        """What is there now; drawn once for all that look until the run goes on."""
        with self._lock:
            try:
                found = (self._run_dir / "metrics.jsonl").stat()
            except FileNotFoundError:
                return Live()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                try:
                    self._drawn = _drawn(_last(read_run(self._run_dir)))
                except InputError as error:
                    self._drawn = Live(fault=str(error))
                self._stamp = stamp
            return self._drawn


def _last(run: Run) -> Run:
    """The last windows of a run, with all programmings, since wear adds up."""
    first = run.windows - WINDOWS
    kept = (e for e in run.events if e.window >= first or e.window == SETUP or isinstance(e, Program))
    return replace(run, events=tuple(kept))


def _drawn(run: Run) -> Live:
    window = replace(run, events=tuple(e for e in run.events if e.window == run.windows - 1))
    tasks, readings = timing.timed(window), upkeep.readings(run)
    return Live(
        tasks=inline_svg(timing.gantt(window, THEMED)) if tasks else Markup(""),
        task_marks=tuple(timing.kind_marks(run, dict.fromkeys(t.kind for t in tasks))),
        upkeep=inline_svg(upkeep.upkeep_panel(run, THEMED)) if readings else Markup(""),
        upkeep_marks=upkeep.MARKS if readings else (),
        programmings=tables.programmings_table(run),
        decisions=tables.decisions_table(run),
        selections=tables.selections_table(run),
        paths=tables.paths_table(run),
        troubles=tables.troubles_table(run),
        cameras=tables.cameras_table(run),
        estimates={name: tuple(e.remains for e in run.of(Sense) if e.terminal == name) for name in run.terminals},
    )
