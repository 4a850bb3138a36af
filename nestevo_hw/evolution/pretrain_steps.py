"""How far the trainings of a pre-training are, as their kept states say it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from nestevo_hw.base.errors import InputError
from nestevo_hw.evolution.halfway import Halfway
from nestevo_hw.evolution.pretrain_job import Job
from nestevo_hw.pages.formats import duration

LOOK_EVERY_S = 5.0


class Steps:
    """Optimiser steps of several trainings that are done and left.

    Args:
        jobs: that are not done.
        clock: seconds that only go forward.
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._clock = jobs, clock
        self._done = dict.fromkeys((job.name for job in jobs), 0)
        self._first, self._began_s = self._sum(), clock()

    def text(self) -> str | None:
        """Where they are, and how long they still take at the speed so far; None as long as nothing new is known."""
        before = sum(self._done.values())
        now, most = self._sum(), sum(job.steps for job in self._jobs)
        if now <= max(before, self._first):
            return None
        rate = (now - self._first) / max(self._clock() - self._began_s, 1e-9)
        return f"{now} of at most {most} steps, about {duration((most - now) / rate)} left"

    def _sum(self) -> int:
        for job in self._jobs:
            with suppress(InputError):  # it is being replaced, or will be refused where it is read
                # A finished training's state stays where it is until all are done.
                self._done[job.name] = max(self._done[job.name], Halfway.step_of(job.state))
        return sum(self._done.values())


@contextmanager
def told_steps(jobs: Sequence[Job], tell: Callable[[str], None]) -> Iterator[None]:
    """Tell now and then, until the block ends, how far trainings are."""
    over, steps = threading.Event(), Steps(jobs)

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            if (text := steps.text()) is not None:
                tell(text)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
