"""A terminal at work: one thread looks at frames, another keeps up with the server, and neither waits for the other."""

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from nestevo_hw.base.documents import plain, read_json, write_json
from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.terminals.config import TerminalSettings
from nestevo_hw.terminals.installed import Installed, RolledBackError, check_model
from nestevo_hw.terminals.judging import judge
from nestevo_hw.terminals.link import AbsentError, Link, RefusedError
from nestevo_hw.terminals.runtime import Deployed, Frame
from nestevo_hw.terminals.source import jpeg
from nestevo_hw.terminals.spool import Spool
from nestevo_hw.terminals.uploads import Uploads
from nestevo_hw.wire.clock import is_over
from nestevo_hw.wire.documents import Ask, Estimate, Offer, Outcome
from nestevo_hw.wire.signals import Signals, remaining_accuracy

KNOWN = "known.json"
FIRST_WAIT_S = 0.5
"""Before the second try where the server does not answer, seconds; it doubles with each further one."""
_LONGEST_TOKEN = 1000
"""Characters."""
_HOPELESS = (409, 413, 415, 422)
"""Answers to a frame that no further try will change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a terminal knows of itself over restarts."""

    version: str | None = None
    """Model of which the signals are."""
    signals: Signals | None = None
    """Of that model on the first frames after it was installed."""
    asked_s: float = 0.0
    """When it last asked for evolution, seconds since 1970."""
    unsaid: Outcome | None = None
    """What the server has not heard yet."""


@dataclass(slots=True)
class Tally:
    """What a terminal has done since it was started."""

    frames: int = 0
    objects: int = 0
    """Reported on them."""
    sent: int = 0
    sent_bytes: int = 0
    refused: int = 0
    """Frames that the server will never take."""
    installed: int = 0
    rolled_back: int = 0
    asked: int = 0


class Terminal:
    """One camera with its model.

    Args:
        settings: how it behaves.
        link: to its server.
        tell: told in one line what happens.
    """

    def __init__(self, settings: TerminalSettings, link: Link, tell: Callable[[str], None] = lambda _: None) -> None:
        self._settings, self._link, self._tell = settings, link, tell
        self._installed = Installed(settings.folder)
        self._spool = Spool(settings.folder / "spool", settings.spool_frames)
        self._known_path = settings.folder / KNOWN
        there = os.path.lexists(self._known_path)
        self._known = read_json(self._known_path, Known, advice="delete it") if there else Known()
        self._model = self._installed.open()
        self._recent: deque[Frame] = deque(maxlen=settings.judged_frames)
        self._since_judged = self._since_installed = 0
        self._uploads = Uploads(settings.budget_mb * 1e6, settings.period_s)
        self._hello_at = 0.0
        self._pending = self._waits = False
        self._wish: Ask | None = None
        """What it will ask for, once its newest frames are at the server."""
        self._news, self._over = threading.Event(), threading.Event()
        self._lock, self._knowing = threading.Lock(), threading.Lock()
        self._fails = ""
        """Why the model that runs fails or stays, as it was told."""
        self._fault: BaseException | None = None
        self.tally = Tally()

    @property
    def version(self) -> str | None:
        """SHA-256 of the model that runs."""
        model = self._model
        return None if model is None else model.version

    def run(self, frames: Iterable[Frame]) -> None:
        """Look at every frame, and keep up with the server, until the frames end and what waits is sent and said."""
        keeping = threading.Thread(target=self._keep_up_or_tell, name="link", daemon=True)
        keeping.start()
        try:
            for frame in frames:
                self.take(frame)
                if not keeping.is_alive():
                    break
        finally:
            self._over.set()
            self._news.set()
            keeping.join()
        if self._fault is not None:
            raise self._fault

    def take(self, frame: Frame) -> None:
        """Look at one frame; now and then, keep it to be sent."""
        self.tally.frames += 1
        model = self._model
        if model is not None:
            try:
                self.tally.objects += len(model.reported(frame).labels)
            except InputError as error:
                try:
                    self._roll_back(model.version, str(error))
                except OutputError as full:  # it is tried again with the next frame
                    self._tell_once(str(full))
        if self.tally.frames % self._settings.every_frames == 0:
            with self._lock:
                self._recent.append(frame)
                self._since_judged += 1
                self._since_installed += 1
            self._keep(frame)
            self._news.set()

    def _keep(self, frame: Frame) -> None:
        """Spool a frame."""
        try:
            self._spool.put(jpeg(frame), time.time())
        except OutputError as error:  # a full disk costs frames, and not the camera
            self._tell(str(error))

    def _keep_up_or_tell(self) -> None:
        try:
            self._keep_up()
        except BaseException as error:
            self._fault = error

    def _keep_up(self) -> None:
        """Turn after turn with the server; one that is away is tried again, each time later."""
        tries, refused = 0, ""
        while True:
            wait_s = self._settings.poll_s
            try:
                self.turn()
                if tries:
                    self._tell("the server answers again")
                tries, refused = 0, ""
            except AbsentError as error:
                tries += 1
                longest = min(self._settings.patience_s, FIRST_WAIT_S * 2.0 ** min(tries - 1, 30))
                wait_s = longest * random.uniform(0.5, 1.0) if error.retry_s is None else error.retry_s
                if tries == 1:
                    self._tell(str(error))
            except (RefusedError, InputError, OutputError) as error:
                tries, wait_s = tries + 1, self._settings.patience_s
                if self._over.is_set():
                    raise
                if str(error) != refused:
                    refused = str(error)
                    self._tell(refused)
            if self._over.is_set() and (tries > 2 or self._all_said()):
                return
            if tries:
                self._over.wait(wait_s)
            else:
                self._news.wait(min(wait_s, max(0.0, self._hello_at - time.monotonic())))
                self._news.clear()

    def _all_said(self) -> bool:
        """Whether the server has heard what became of its models, and has all frames that are due."""
        return self._known.unsaid is None and self._uploads.next(self._spool.waiting()) is None

    def turn(self) -> None:
        """Everything that is due with the server.

        Raises:
            AbsentError: it does not answer.
            RefusedError: it will not have this terminal.
            InputError: what it sent is damaged.
        """
        if (unsaid := self._known.unsaid) is not None:
            self._link.outcome(unsaid)
            self._know(lambda known: replace(known, unsaid=None) if known.unsaid == unsaid else known)
        if time.monotonic() >= self._hello_at:
            welcome = self._link.hello(self.version)
            self._hello_at, self._pending = time.monotonic() + self._settings.poll_s, welcome.pending
            self._uploads.told(welcome)
            if welcome.offer is not None and self._wants(welcome.offer):
                self._update(welcome.offer)
            elif self._model is None and not self._waits:
                self._waits = True
                self._tell("no model yet: frames are sent, and the server's first model is installed once it is there")
        if self._wish is None:
            self._judge()
        self._send()
        if self._wish is not None:
            self._ask(self._wish)

    def _wants(self, offer: Offer) -> bool:
        return offer.version != self.version and not self._installed.refuses(offer.version) and bool(self._recent)

    def _update(self, offer: Offer) -> None:
        """Fetch a model, try it on frames of this camera, and bring it into force or not."""
        old = self._model
        have = None if old is None else (old.version, self._installed.content(old.version))
        self._installed.put(offer.version, *self._link.fetch(offer, have))
        try:
            new = Deployed(self._installed.folder(offer.version))
            with self._lock:
                frames = list(self._recent)
            check_model(new, old, frames)
        except (RolledBackError, InputError) as error:
            self._roll_back(offer.version, str(error))
            return
        self._installed.switch(offer.version)
        with self._lock:
            self._model, self._since_installed = new, 0
        self.tally.installed += 1
        origin = "the first model" if offer.window is None else f"of window {offer.window}"
        self._tell(f"installed {offer.version[:12]}, {origin}")
        self._say(Outcome(version=offer.version, result="installed", runs=offer.version))

    def _roll_back(self, version: str, reason: str) -> None:
        """Go on with the model before; the server hears of it with the next turn."""
        if not self._installed.refuse(version):
            self._tell_once(f"the only model there is fails: {reason}")
            return
        with self._lock:
            if self._model is None or self._model.version == version:
                self._model = self._installed.open()
        self.tally.rolled_back += 1
        self._tell(f"rolled back {version[:12]}: {reason}")
        self._say(Outcome(version=version, result="rolled-back", runs=self.version, reason=reason[:300]))

    def _tell_once(self, line: str) -> None:
        """Tell what may be so with every frame."""
        if line != self._fails:
            self._fails = line
            self._tell(line)

    def _say(self, outcome: Outcome) -> None:
        self._know(lambda known: replace(known, unsaid=outcome))
        self._news.set()

    def _send(self) -> None:
        """All frames that are due; those before one that was sent are not needed any more."""
        while (frame := self._uploads.next(self._spool.waiting())) is not None:
            try:
                size = self._link.send(frame)
            except FileNotFoundError:
                continue  # it has just made room for another
            except RefusedError as error:
                if error.status not in _HOPELESS:
                    raise
                self.tally.refused += 1
                self._tell(f"frame {frame.id}: {error}")
            else:
                self._uploads.sent(size)
                self.tally.sent, self.tally.sent_bytes = self.tally.sent + 1, self.tally.sent_bytes + size
            self._spool.drop_until(frame)

    def _judge(self) -> None:
        """Ask for evolution where the model seems to have lost too much, or where it is time."""
        settings, model = self._settings, self._model
        with self._lock:
            frames, fresh = list(self._recent), self._since_installed
            due = len(frames) == settings.judged_frames and 2 * self._since_judged >= settings.judged_frames
        estimate = self._estimate(model, frames, fresh) if due and model is not None else None
        lost = estimate is not None and estimate.remains < 1.0 - settings.margin
        if not self._known.asked_s:  # the clock begins with the first model
            self._know(lambda known: replace(known, asked_s=time.time()))
        every_s = settings.ask_every_s
        timed = every_s is not None and is_over(every_s, self._known.asked_s, time.time())
        if model is not None and not self._pending and (lost or timed):
            self._wish = Ask(estimate=estimate)
            self._uploads.renew()

    def _ask(self, wish: Ask) -> None:
        """Ask for the evolution that is wished for; its frames are at the server."""
        self._pending, self._wish = self._link.ask(wish.estimate).pending, None
        self.tally.asked += 1
        self._know(lambda known: replace(known, asked_s=time.time()))
        how = "by the clock" if wish.estimate is None else f"{wish.estimate.remains:.0%} of its accuracy left"
        self._tell(f"asked for evolution: {how}")

    def _estimate(self, model: Deployed, frames: list[Frame], fresh: int) -> Estimate | None:
        """What the model has left since its first frames; None while these come."""
        self._since_judged = 0
        known = self._known.signals if self._known.version == model.version else None
        if known is None and fresh < self._settings.judged_frames:
            return None
        now = judge(model, frames)
        if known is None:
            self._know(lambda known: replace(known, version=model.version, signals=now))
            known = now
        return Estimate(remains=remaining_accuracy(now, known), agreement=now.agreement, confidence=now.confidence)

    def _know(self, change: Callable[[Known], Known]) -> None:
        """Change what is known, which the cameras' thread and that of the link both do."""
        with self._knowing:
            self._known = change(self._known)
            try:
                write_json(self._known_path, plain(self._known))
            except OutputError as error:  # a full disk costs what a restart would have known, and not the camera
                self._tell(str(error))


def token_of(path: Path) -> str:
    """The token in a file.

    Raises:
        InputError: it is missing, or holds no token.
    """
    from nestevo_hw.base.files import read_text

    token = read_text(path, advice="make one by `nestevo-hw serve CONFIG --new-token NAME`").strip()
    if not token or not token.isascii() or not token.isprintable() or len(token) > _LONGEST_TOKEN:
        raise InputError(f"{path} holds no token; make one by `nestevo-hw serve CONFIG --new-token NAME`")
    return token
