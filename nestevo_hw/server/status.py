"""The state of a server at one moment, as its page and its JSON show it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from nestevo_hw import __version__
from nestevo_hw.base.errors import InputError
from nestevo_hw.pages.formats import DASH, duration
from nestevo_hw.pages.parts import Pill
from nestevo_hw.pages.shell import render
from nestevo_hw.pages.tables import Table
from nestevo_hw.report.samples import data_uri, load_picture
from nestevo_hw.server.live import Live
from nestevo_hw.server.store import PastWindow, Store, Terminal

SHOWN, LAST = 24, 3
"""Most frames, and estimates of each terminal before the present one, on the page."""
SILENT_S = 300.0
"""Without a word from a terminal for so long, it counts as silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """All that a server knows of itself; times by its clock, seconds since 1970."""

    tool: str
    now_s: float
    started_s: float
    terminals: tuple[Terminal, ...]
    windows: tuple[PastWindow, ...]
    """The last ones, newest first."""
    strangers: int
    """Requests with wrong tokens since it was started."""

    @property
    def evolving(self) -> PastWindow | None:
        """The window that has begun and not ended."""
        return next((w for w in self.windows if w.ended_s is None), None)


def server_status(store: Store, names: Sequence[str], started_s: float, strangers: int) -> ServerStatus:
    """What a server knows of itself now."""
    return ServerStatus(
        tool=f"nestevo-hw {__version__}", now_s=time.time(), started_s=started_s,
        terminals=tuple(store.terminal(name) for name in names), windows=tuple(store.last_windows()),
        strangers=strangers,
    )  # fmt: skip


def status_page(status: ServerStatus, live: Live, frames: Mapping[str, Path]) -> str:
    """The page of a server.

    Args:
        status: of it.
        live: of its last windows.
        frames: the last frame of each terminal that has sent one.
    """
    values = {
        "status": status, "live": live, "terminals": _terminals(status, live), "windows": _windows(status),
        "frames": dict(islice(_pictures(frames), SHOWN)),
    }  # fmt: skip
    return render("server.html", values)


def _pictures(frames: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Frames that are still there, as data URIs."""
    for name, path in frames.items():
        with suppress(InputError):  # it has made room for another
            yield name, data_uri(load_picture(path))


def _terminals(status: ServerStatus, live: Live) -> Table:
    rows = [
        (
            t.name, _presence(t, status.now_s), _short(t.runs), _short(t.offered), str(t.waiting),
            f"{t.waiting_bytes / 1e6:.1f} MB", str(t.received), str(t.dropped), _request(t, status.now_s),
            _estimates(t, live.estimates.get(t.name, ())), str(t.refused), _rolled_back(t),
        )
        for t in status.terminals
    ]  # fmt: skip
    heads = ("terminal", "last seen", "runs", "offered", "waiting frames", "bytes", "received", "dropped", "asked",
             "accuracy left", "refused", "rolled back")  # fmt: skip
    return Table(
        heads=heads,
        rows=rows,
        note="accuracy left: the terminal's own estimate, without labels, before each of the last windows and now; "
        "refused: requests beyond its limits",
    )


def _windows(status: ServerStatus) -> Table:
    rows = [
        (
            str(w.number), ", ".join(w.terminals), f"{duration(status.now_s - w.sealed_s)} ago",
            Pill(text="runs", tone="wait") if w.ended_s is None else duration(w.ended_s - w.sealed_s),
        )
        for w in status.windows
    ]  # fmt: skip
    return Table(heads=("window", "terminals", "began", "took"), rows=rows)


def _estimates(terminal: Terminal, earlier: Sequence[float]) -> str:
    """What it said of itself before its last windows, and since then."""
    said = [
        *earlier[-LAST:],
        *([] if terminal.asked_s is None or terminal.estimate is None else [terminal.estimate.remains]),
    ]
    return ", ".join(f"{remains:.2f}" for remains in said) or DASH


def _rolled_back(terminal: Terminal) -> str:
    """How often, and why the last time."""
    last = terminal.outcome
    why = f": {last.reason}" if last is not None and last.result == "rolled-back" and last.reason else ""
    return f"{terminal.rolled_back}{why}"


def _presence(terminal: Terminal, now_s: float) -> Pill:
    if terminal.seen_s is None:
        return Pill(text="never", tone="bad")
    ago_s = max(now_s - terminal.seen_s, 0.0)
    return Pill(text=f"{duration(ago_s)} ago", tone="good" if ago_s < SILENT_S else "bad")


def _request(terminal: Terminal, now_s: float) -> str:
    return DASH if terminal.asked_s is None else f"{duration(max(now_s - terminal.asked_s, 0.0))} ago"


def _short(version: str | None) -> str:
    return DASH if version is None else version[:12]
