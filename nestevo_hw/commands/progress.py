"""Progress on stderr: a bar on a terminal; elsewhere nothing, or a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nestevo_hw.base.text import visible

LINE_EVERY_S = 10.0
"""Seconds between two lines where there is no terminal."""


class Told:
    """What a long command tells of itself while it runs.

    Args:
        bar: of a terminal.
        first: what happens first.
        total: number of steps expected, None as long as that is not known.
        lines: where the bar is disabled, tell by lines instead.
    """

    def __init__(self, bar: Progress, first: str, *, total: int | None, lines: bool) -> None:
        self._bar, self._lines = bar, lines and bar.disable
        self._steps, self._total, self._told_s = 0, total, 0.0
        self._row = bar.add_task(first, total=total)
        self._line(first)

    def expect(self, total: int, first: str) -> None:
        """Steps are known now; `first` is shown until one has ended."""
        self._total = total
        self._bar.update(self._row, total=total, description=first)
        self._line(first)

    def advance(self, description: str) -> None:
        """One more step has ended."""
        self._steps += 1
        self._bar.advance(self._row)
        self.say(f"{self._steps} of at most {self._total}: {description}", short=description)

    def say(self, description: str, *, short: str | None = None) -> None:
        """What happens now; a bar, which shows numbers itself, has the short text."""
        self._bar.update(self._row, description=visible(short or description))
        if time.monotonic() - self._told_s >= LINE_EVERY_S:
            self._line(visible(description))

    def _line(self, text: str) -> None:
        if self._lines:
            click.echo(text, err=True)
            self._told_s = time.monotonic()


@contextmanager
def telling(first: str, *, total: int | None = None, lines: bool = True) -> Iterator[Told]:
    """Tell on stderr what happens until the block ends; arguments as for `Told`."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Told(bar, first, total=total, lines=lines)


@contextmanager
def progress_bar(total: int, first: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that advances the bar by one and names what has just ended; without a terminal there is none.

    Args:
        total: number of steps expected.
        first: text shown until the first step has ended.
    """
    with telling(first, total=total, lines=False) as told:
        yield told.advance
