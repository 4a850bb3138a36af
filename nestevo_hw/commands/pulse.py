"""No command is silent for a minute: without a bar on a terminal, a line on stderr says what it is at."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from nestevo_hw.base.text import visible
from nestevo_hw.pages.formats import duration

LINE_EVERY_S = 60.0
"""Seconds between two lines."""


class Pulse:
    """What a command is at, and the line on it.

    Args:
        what: it is at.
        quiet: whether it says nothing meanwhile, as for a machine that reads it.
    """

    def __init__(self, what: str, *, quiet: bool) -> None:
        self.what, self.quiet = what, quiet
        self.left: Callable[[], str] = str
        """What to say of the time that it takes yet."""
        self.shown = False
        """Whether a bar on a terminal tells it."""
        self._began_s, self._over = time.monotonic(), threading.Event()

    def beat(self) -> None:
        """The line on what the command is at, unless that is shown already."""
        if not (self.quiet or self.shown):
            what = "; ".join(text for text in (self.what, self.left()) if text)
            self.say(f"{what} ({duration(time.monotonic() - self._began_s)} so far)")

    def say(self, text: str) -> None:
        """One line, unless it is to be quiet."""
        if not self.quiet:
            click.echo(visible(text), err=True)

    def run(self) -> None:
        """Beat until it is over."""
        while not self._over.wait(LINE_EVERY_S):
            self.beat()

    def stop(self) -> None:
        """It is over."""
        self._over.set()


@contextmanager
def beating(what: str, *, quiet: bool) -> Iterator[None]:
    """Let a command that runs in the block tell what it is at."""
    pulse = click.get_current_context().meta[__name__] = Pulse(what, quiet=quiet)
    threading.Thread(target=pulse.run, daemon=True).start()
    try:
        yield
    finally:
        pulse.stop()


def pulse_of_command() -> Pulse:
    """The pulse of the command that runs; a quiet one outside of any."""
    context = click.get_current_context(silent=True)
    found = context.meta.get(__name__) if context else None
    return found if isinstance(found, Pulse) else Pulse("", quiet=True)
