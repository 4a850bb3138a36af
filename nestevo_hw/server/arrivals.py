"""When a window begins, and with which frames: the list is sealed in the run folder before anything reads it."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.documents import read_json, write_json
from nestevo_hw.base.files import replacing
from nestevo_hw.evolution.inbox import FIRST_MODEL, SEALED, Inbox, SentFrame, read_inbox, seal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.server import Server
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.server.inboxes import Inboxes
from nestevo_hw.server.shelf import Shelf
from nestevo_hw.server.store import Frame, Store, Terminal
from nestevo_hw.wire.clock import is_over

LOOK_S = 1.0
"""Longest time between two looks at the clock, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What decides whether a window begins now."""

    now_s: float
    last_s: float
    """When the last window began, or the server started; by the same clock, seconds."""
    remote: int
    """Terminals that there are."""
    able: Sequence[str]
    """Terminals with frames enough."""
    asked_s: Sequence[float]
    """When those of them asked that did."""


def is_time(moment: Moment, config: ServeConfig) -> bool:
    """Whether a window begins: all have asked, those that did have waited enough, or it is time anyway."""
    if not moment.able:
        return False
    if moment.asked_s and (
        len(moment.asked_s) == moment.remote or is_over(config.gather_s, min(moment.asked_s), moment.now_s)
    ):
        return True
    return config.every_s is not None and is_over(config.every_s, moment.last_s, moment.now_s)


class Arrivals:
    """The windows of a server, each when its frames are there; satisfies `evolution.loop.Windows`.

    A window that was sealed before a kill is given again with the same frames, so that it comes to the same result.
    """

    def __init__(
        self,
        layout: RunLayout,
        config: ServeConfig,
        store: Store,
        inboxes: Inboxes,
        shelf: Shelf,
        on_event: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._layout, self._config, self._store, self._inboxes = layout, config, store, inboxes
        self._shelf, self._on_event = shelf, on_event
        self._last_s = time.time()

    def __call__(self, server: Server) -> Iterator[int]:
        """Numbers of windows; whoever asks for the next one has ended the last."""
        remote = server.config.remote
        cut_off = {window.number for window in self._store.last_windows() if window.ended_s is None}
        for number in range(server.config.window.count):
            if not self._path(number).exists():
                if number == 0:
                    self._publish(server)
                able = self._await_frames(remote)
                self._seal(number, able)
                self._on_event(f"window {number} begins with {', '.join(able)}")
            elif number in cut_off:
                self._on_event(f"window {number} goes on from where it was")
            self._begun(number)
            yield number
            if not self._path(number + 1).exists():  # after a restart, others follow that have ended before
                self._publish(server)
            if self._store.ended(number):
                self._on_event(f"window {number} has ended")

    def repair(self) -> None:
        """After a kill, frames that a sealed window has taken wait no longer."""
        if self._layout.windows.is_dir():
            for folder in sorted(self._layout.windows.iterdir())[-1:]:
                if (folder / SEALED).exists():
                    self._begun(int(folder.name))

    def _publish(self, server: Server) -> None:
        """Offer each terminal what the last window gave it."""
        for name in server.config.remote:
            if (deployed := server.deployed.get(name)) is not None:
                self._shelf.publish(name, deployed)

    def _await_frames(self, remote: Sequence[str]) -> list[str]:
        """Wait until a window begins; terminals that take part."""
        with self._store.changed:
            while True:
                terminals = [self._store.terminal(name) for name in remote]
                able = [t for t in terminals if t.waiting >= self._config.least_frames]
                if is_time(self._moment(len(remote), able), self._config):
                    self._last_s = time.time()
                    return [t.name for t in able]
                self._store.changed.wait(LOOK_S)

    def _moment(self, remote: int, able: Sequence[Terminal]) -> Moment:
        return Moment(
            now_s=time.time(), last_s=self._last_s, remote=remote, able=[t.name for t in able],
            asked_s=[t.asked_s for t in able if t.asked_s is not None],
        )  # fmt: skip

    def _seal(self, number: int, names: Sequence[str]) -> None:
        """Fix the frames of a window; nothing counts before its last file is written."""
        for name in names:
            folder = self._layout.inbox(number, name)
            shutil.rmtree(folder, ignore_errors=True)
            with self._store.changed:  # no frame has to make room meanwhile
                frames, terminal = self._store.waiting(name), self._store.terminal(name)
                sent = tuple(self._brought(name, frame, k, folder) for k, frame in enumerate(frames))
            asked = terminal.asked_s is not None
            estimate = terminal.estimate if asked else None
            seal(folder, Inbox(frames=sent, asked=asked, estimate=estimate, back_to=self._back_to(terminal)))
        write_json(self._path(number), list(names))

    def _back_to(self, terminal: Terminal) -> int | None:
        """Where a terminal has rolled its last model back: the window of the one that it runs."""
        outcome = terminal.outcome
        if outcome is None or outcome.result != "rolled-back" or outcome.version != terminal.offered:
            return None
        windows = {m.version: FIRST_MODEL if m.window is None else m.window for m in self._store.models(terminal.name)}
        return windows.get(outcome.runs or "")

    def _brought(self, name: str, frame: Frame, place: int, folder: Path) -> SentFrame:
        """A frame in the window's own folder, as a second name of the same file where the disk can do that."""
        source = self._inboxes.folder(name) / frame.file
        file = f"{place:05d}{source.suffix}"
        with replacing(folder / file) as temporary:
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
        return SentFrame(id=frame.id, file=file, sha256=frame.sha256, taken_s=frame.taken_s)

    def _begun(self, number: int) -> None:
        """Take what a sealed window has out of the inboxes."""
        names = read_json(self._path(number), tuple[str, ...], advice="begin anew in another folder")
        taken = {name: [f.id for f in read_inbox(self._layout.inbox(number, name)).frames] for name in names}
        self._store.began(number, taken)
        for name in taken:
            self._inboxes.clear(name)

    def _path(self, number: int) -> Path:
        return self._layout.window(number, SEALED)
