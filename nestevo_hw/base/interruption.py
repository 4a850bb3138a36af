"""How work is stopped from outside, by Ctrl-C or a signal: in order, with one line on how to go on."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from nestevo_hw.base.errors import StoppedError

_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """A signal that asks the program to end, on the same way out as Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def signals_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a block as Ctrl-C does; one that is ignored, as under nohup, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    ours = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


class StopRequest(threading.Event):
    """Set once the program is asked to end."""

    number: int = signal.SIGINT
    """Of the signal."""


@contextmanager
def asked_to_stop() -> Iterator[StopRequest]:
    """Let the first Ctrl-C or signal of a block only ask it to end, so that it stops where its work is whole.

    The second one ends it at once.
    """
    request = StopRequest()
    before: dict[int, Any] = {}

    def ask(number: int, _: object) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        request.number = number
        request.set()

    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
        before |= {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
        for number in before:
            signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped(interrupt: KeyboardInterrupt | StoppedError, done: str, advice: str) -> StoppedError:
    """The one line about a stop.

    Args:
        interrupt: what stopped it.
        done: how far it came, such as "after 3 of 8 runs, which are kept in runs/a"; may be empty.
        advice: how to go on.
    """
    number = _number(interrupt)
    by = "" if number == signal.SIGINT else f"by {signal.Signals(number).name}"
    return StoppedError(f"{' '.join(filter(None, ('stopped', by, done)))}; {advice}", number)


@contextmanager
def resumable(
    folder: Path, kept: Callable[[], str], *, advice: str = "run the same command with --resume to go on"
) -> Iterator[None]:
    """Run a block whose results are kept one by one; who stops it is told how to go on.

    Args:
        folder: where they are kept.
        kept: says how many there are, such as "3 of 8 runs".
        advice: how to go on.

    Raises:
        StoppedError: stopped by Ctrl-C or a signal.
    """
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as interrupt:
        raise stopped(interrupt, f"after {kept()}, which are kept in {folder}", advice) from None


def _number(interrupt: KeyboardInterrupt | StoppedError) -> int:
    return interrupt.number if isinstance(interrupt, Terminated | StoppedError) else signal.SIGINT


def _end(number: int, _: object) -> NoReturn:
    raise Terminated(number)
