"""What a server knows of its terminals, in SQLite: who was there, which frames wait, who asked for evolution.

The file survives a kill at any moment: each change is one transaction, and what lies in files beside it is put right
when the store is opened.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import OutputError
from nestevo_hw.wire.documents import Estimate, Outcome

DATABASE = "serve.sqlite"
REMEMBERED = 5
"""Times the frames that may wait: so many names of frames are remembered, to know one that comes again."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS terminals (
    name TEXT PRIMARY KEY, seen_s REAL, tool TEXT NOT NULL DEFAULT '', runs TEXT, offered TEXT,
    asked_s REAL, estimate TEXT, outcome TEXT, received INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0, rolled_back INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS frames (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, terminal TEXT NOT NULL, id TEXT NOT NULL, sha256 TEXT NOT NULL,
    file TEXT NOT NULL, bytes INTEGER NOT NULL, taken_s REAL NOT NULL, waiting INTEGER NOT NULL DEFAULT 1,
    UNIQUE (terminal, id)
);
CREATE INDEX IF NOT EXISTS waiting_frames ON frames (terminal, waiting, seq);
CREATE TABLE IF NOT EXISTS models (
    terminal TEXT NOT NULL, version TEXT NOT NULL, window INTEGER, bytes INTEGER NOT NULL, published_s REAL NOT NULL,
    PRIMARY KEY (terminal, version)
);
CREATE TABLE IF NOT EXISTS windows (
    number INTEGER PRIMARY KEY, sealed_s REAL NOT NULL, ended_s REAL, terminals TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame that was received."""

    seq: int
    id: str
    sha256: str
    file: str
    """Name in the terminal's inbox."""
    bytes: int
    taken_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a terminal was offered."""

    version: str
    """SHA-256 of its file."""
    window: int | None
    bytes: int
    published_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """All that is known of one terminal; times by the server's clock, seconds since 1970."""

    name: str
    seen_s: float | None
    tool: str
    runs: str | None
    offered: str | None
    asked_s: float | None
    estimate: Estimate | None
    outcome: Outcome | None
    received: int
    dropped: int
    """Frames, to make room for newer ones."""
    refused: int
    """Requests."""
    rolled_back: int
    waiting: int
    waiting_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PastWindow:
    """A window that has begun."""

    number: int
    sealed_s: float
    ended_s: float | None
    terminals: tuple[str, ...]


class Store:
    """The database of one server.

    Args:
        folder: of the server's state.
        names: of the remote terminals.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._path = folder / DATABASE
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        """Told when frames or requests have come."""
        try:
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise OutputError(f"cannot open {self._path}: {error}; restore it or choose another --state") from error
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO terminals (name) VALUES (?)", [(name,) for name in names])

    def close(self) -> None:
        """Write what is left, and close."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise OutputError.of(self._path, error) from error
                raise

    def seen(self, name: str, *, tool: str | None = None, runs: str | None = None) -> None:
        """A terminal was there; with `tool`, it said what it runs."""
        with self._transaction() as db:
            db.execute("UPDATE terminals SET seen_s = ? WHERE name = ?", (time.time(), name))
            if tool is not None:
                db.execute("UPDATE terminals SET tool = ?, runs = ? WHERE name = ?", (tool, runs, name))

    def refused(self, name: str) -> None:
        """A request of a terminal was not served."""
        with self._transaction() as db:
            db.execute("UPDATE terminals SET refused = refused + 1 WHERE name = ?", (name,))

    def asked(self, name: str, estimate: Estimate | None) -> None:
        """A terminal asks for evolution; one that has asked already keeps its place."""
        told = None if estimate is None else json_line(plain(estimate))
        with self._transaction() as db:
            db.execute(
                "UPDATE terminals SET asked_s = coalesce(asked_s, ?), estimate = ?, seen_s = ? WHERE name = ?",
                (time.time(), told, time.time(), name),
            )
            self.changed.notify_all()

    def told_outcome(self, name: str, outcome: Outcome) -> None:
        """A terminal has tried a model; told again, it counts once."""
        told = json_line(plain(outcome))
        with self._transaction() as db:
            (last,) = db.execute("SELECT outcome FROM terminals WHERE name = ?", (name,)).fetchone()
            new = int(outcome.result == "rolled-back" and last != told)
            db.execute(
                "UPDATE terminals SET outcome = ?, runs = ?, seen_s = ?, rolled_back = rolled_back + ? WHERE name = ?",
                (told, outcome.runs, time.time(), new, name),
            )

    def digest_of(self, name: str, id_: str) -> str | None:
        """SHA-256 of a frame that was received under a name; None for a new one."""
        with self._lock:
            found = self._db.execute("SELECT sha256 FROM frames WHERE terminal = ? AND id = ?", (name, id_)).fetchone()
        return None if found is None else str(found[0])

    def received(self, name: str, frame: Frame, *, most: int, most_bytes: int) -> list[str]:
        """Keep a frame whose file is in place; `seq` is given anew.

        Returns:
            Files of older frames that had to make room, which the caller removes.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO frames (terminal, id, sha256, file, bytes, taken_s) VALUES (?, ?, ?, ?, ?, ?)",
                (name, frame.id, frame.sha256, frame.file, frame.bytes, frame.taken_s),
            )
            gone = self._overflow(name, most, most_bytes)
            db.executemany("UPDATE frames SET waiting = 0 WHERE seq = ?", [(f.seq,) for f in gone])
            db.execute(
                "UPDATE terminals SET received = received + 1, dropped = dropped + ?, seen_s = ? WHERE name = ?",
                (len(gone), time.time(), name),
            )
            db.execute(
                "DELETE FROM frames WHERE terminal = ? AND waiting = 0 AND seq <= (SELECT seq FROM frames "
                "WHERE terminal = ? AND waiting = 0 ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (name, name, REMEMBERED * most),
            )
            self.changed.notify_all()
        return [f.file for f in gone]

    def _overflow(self, name: str, most: int, most_bytes: int) -> list[Frame]:
        """The oldest waiting frames that are too many; the newest one stays."""
        count, total = self._waiting(name)
        if count <= most and total <= most_bytes:
            return []
        gone = list[Frame]()
        for frame in self.waiting(name)[:-1]:
            if count - len(gone) <= most and total <= most_bytes:
                break
            gone.append(frame)
            total -= frame.bytes
        return gone

    def _waiting(self, name: str) -> tuple[int, int]:
        """How many frames of a terminal wait, and their bytes."""
        with self._lock:
            row = self._db.execute(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM frames WHERE terminal = ? AND waiting = 1", (name,)
            ).fetchone()
        return int(row[0]), int(row[1])

    def waiting(self, name: str) -> list[Frame]:
        """Frames of a terminal that no window has taken, in the order in which they came."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, id, sha256, file, bytes, taken_s FROM frames "
                "WHERE terminal = ? AND waiting = 1 ORDER BY seq",
                (name,),
            ).fetchall()
        return [Frame(seq=r[0], id=r[1], sha256=r[2], file=r[3], bytes=r[4], taken_s=r[5]) for r in rows]

    def lost(self, name: str, frames: Sequence[Frame]) -> None:
        """Forget frames whose files are gone, so that they may be sent again."""
        with self._transaction() as db:
            db.executemany("DELETE FROM frames WHERE terminal = ? AND seq = ?", [(name, f.seq) for f in frames])

    def began(self, number: int, taken: Mapping[str, Sequence[str]]) -> None:
        """A window has begun with these frames, by terminal and id; begun again, nothing changes."""
        with self._transaction() as db:
            begun = db.execute(
                "INSERT OR IGNORE INTO windows (number, sealed_s, terminals) VALUES (?, ?, ?)",
                (number, time.time(), json_line(list(taken))),
            )
            for name, ids in taken.items():
                db.executemany(
                    "UPDATE frames SET waiting = 0 WHERE terminal = ? AND id = ?", [(name, id_) for id_ in ids]
                )
                if begun.rowcount:  # what has been asked since stands
                    db.execute("UPDATE terminals SET asked_s = NULL WHERE name = ?", (name,))

    def ended(self, number: int) -> bool:
        """A window has ended; what its terminals asked meanwhile was about models that are now old.

        Returns:
            Whether that is news.
        """
        with self._transaction() as db:
            found = db.execute(
                "UPDATE windows SET ended_s = ? WHERE number = ? AND ended_s IS NULL RETURNING terminals",
                (time.time(), number),
            ).fetchall()
            for (names,) in found:
                for name in parse_json(names, tuple[str, ...], DATABASE):
                    db.execute("UPDATE terminals SET asked_s = NULL WHERE name = ?", (name,))
        return bool(found)

    def last_windows(self, most: int = 20) -> list[PastWindow]:
        """The last windows, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT number, sealed_s, ended_s, terminals FROM windows ORDER BY number DESC LIMIT ?", (most,)
            ).fetchall()
        return [
            PastWindow(number=r[0], sealed_s=r[1], ended_s=r[2], terminals=parse_json(r[3], tuple[str, ...], DATABASE))
            for r in rows
        ]

    def published(self, name: str, model: Model) -> None:
        """A terminal is offered a model from now on."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO models (terminal, version, window, bytes, published_s) VALUES (?, ?, ?, ?, ?)",
                (name, model.version, model.window, model.bytes, model.published_s),
            )
            db.execute("UPDATE terminals SET offered = ? WHERE name = ?", (model.version, name))

    def models(self, name: str) -> list[Model]:
        """Models that a terminal was offered, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT version, window, bytes, published_s FROM models WHERE terminal = ? ORDER BY rowid DESC",
                (name,),  # in the order in which they came: the clock may have been put back
            ).fetchall()
        return [Model(version=r[0], window=r[1], bytes=r[2], published_s=r[3]) for r in rows]

    def withdrawn(self, name: str, version: str) -> None:
        """A model can no longer be fetched."""
        with self._transaction() as db:
            db.execute("DELETE FROM models WHERE terminal = ? AND version = ?", (name, version))

    def terminal(self, name: str) -> Terminal:
        """What is known of a terminal."""
        with self._lock:
            row = self._db.execute(
                "SELECT seen_s, tool, runs, offered, asked_s, estimate, outcome, received, dropped, refused, "
                "rolled_back FROM terminals WHERE name = ?",
                (name,),
            ).fetchone()
            waiting, waiting_bytes = self._waiting(name)
        return Terminal(
            name=name, seen_s=row[0], tool=row[1], runs=row[2], offered=row[3], asked_s=row[4],
            estimate=None if row[5] is None else parse_json(row[5], Estimate, DATABASE),
            outcome=None if row[6] is None else parse_json(row[6], Outcome, DATABASE),
            received=row[7], dropped=row[8], refused=row[9], rolled_back=row[10],
            waiting=waiting, waiting_bytes=waiting_bytes,
        )  # fmt: skip
