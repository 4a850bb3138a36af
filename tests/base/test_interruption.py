"""Signals end work as Ctrl-C does, and who stops it is told how to go on."""

import os
import signal
import threading
from pathlib import Path

import pytest

from nestevo_hw.base.errors import StoppedError
from nestevo_hw.base.interruption import resumable, signals_as_ctrl_c, stopped


def stop_within(number: int) -> None:
    with signals_as_ctrl_c(), resumable(Path("runs/a"), lambda: "3 of 8 runs"):
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "by"), [(signal.SIGINT, ""), (signal.SIGTERM, "by SIGTERM "), (signal.SIGHUP, "by SIGHUP ")]
)
def test_who_stops_work_is_told_how_to_go_on(number: int, by: str) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(StoppedError) as told:
        stop_within(number)
    kept = "after 3 of 8 runs, which are kept in runs/a"
    assert str(told.value) == f"stopped {by}{kept}; run the same command with --resume to go on"
    assert told.value.number == number
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before


def test_the_outer_of_two_works_has_the_last_word() -> None:
    inner = stopped(KeyboardInterrupt(), "after 2 tasks", "go on with evolve")
    with (
        pytest.raises(StoppedError, match=r"^stopped after 1 runs, .*; go on with compare$"),
        resumable(Path("out"), lambda: "1 runs", advice="go on with compare"),
    ):
        raise inner


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_as_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def look() -> None:
        with signals_as_ctrl_c():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
