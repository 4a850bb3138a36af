"""Progress on stderr: a bar on a terminal; elsewhere the command's pulse, a line a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from nestevo_hw.base.text import visible
from nestevo_hw.commands.pulse import Pulse, pulse_of_command
from nestevo_hw.pages.formats import duration

_FOUND_S = 0.05
"""A step that ends this soon after the one before it was found done, so it says nothing of how long others take."""
_FIRST_S = 5.0
"""Time at work from which on the rest is estimated."""


class Told:
    """What a long command tells of itself while it runs.

    Args:
        bar: of a terminal.
        pulse: of the command.
        first: what happens first.
        total: number of steps expected, None as long as that is not known.
    """

    def __init__(self, bar: Progress, pulse: Pulse, first: str, *, total: int | None) -> None:
        self._bar, self._pulse = bar, pulse
        self._begin(total, None)
        pulse.what, pulse.left = first, self._left
        self._row = bar.add_task(first, total=total, left=self._left)

    def _begin(self, total: int | None, work: float | None) -> None:
        self._total, self._steps = total, 0
        self._all: float = (total or 0) if work is None else work
        self._work = self._timed = self._timed_s = 0.0
        self._last_s = time.monotonic()

    def expect(self, total: int, first: str, *, work: float | None = None) -> None:
        """Steps are known now; `first` is shown until one has ended.

        Args:
            total: at most so many steps.
            first: what happens first.
            work: all of them together in the unit of `advance`; left out, a step is a unit.
        """
        self._pulse.what = first
        self._bar.update(self._row, total=total if work is None else work, description=first)
        self._begin(total, work)

    def advance(self, description: str, work: float = 1.0) -> None:
        """One more step has ended, of so much work."""
        now_s = time.monotonic()
        if now_s - self._last_s > _FOUND_S:
            self._timed_s += now_s - self._last_s
            self._timed += work
        self._steps, self._work, self._last_s = self._steps + 1, self._work + work, now_s
        text = visible(description)
        self._bar.update(self._row, advance=work, description=text)
        self._pulse.what = f"{self._steps} of at most {self._total}, {text}" if self._total else text

    def say(self, description: str, *, short: str | None = None) -> None:
        """What happens now; a bar, which shows numbers itself, has the short text."""
        self._bar.update(self._row, description=visible(short or description))
        self._pulse.what = visible(description)

    def _left(self) -> str:
        """About how long the rest takes at most, from what steps took and how long the present one has been at it."""
        if self._timed_s < _FIRST_S:
            return ""
        rest_s = (self._all - self._work) / self._timed * self._timed_s - (time.monotonic() - self._last_s)
        return f"at most about {duration(rest_s)} left" if rest_s > 0 else ""


class _LeftColumn(ProgressColumn):
    """The time that the rest takes, as of now."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["left"]())


@contextmanager
def telling(first: str, *, total: int | None = None, at_once: bool = False) -> Iterator[Told]:
    """Tell on stderr what happens until the block ends.

    Args:
        first: what happens first.
        total: number of steps expected, None as long as that is not known.
        at_once: say what happens first at once, where there is no terminal.
    """
    console, pulse = Console(stderr=True), pulse_of_command()
    text = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), text, _LeftColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        pulse.shown = console.is_terminal
        if at_once and not pulse.shown:
            pulse.say(first)
        try:
            yield Told(bar, pulse, first, total=total)
        finally:
            pulse.shown = False


@contextmanager
def progress_bar(total: int, first: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that advances the bar by one and names what has just ended.

    Args:
        total: number of steps expected.
        first: text shown until the first step has ended.
    """
    with telling(first, total=total) as told:
        yield told.advance
