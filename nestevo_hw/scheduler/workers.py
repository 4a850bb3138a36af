"""Where an attempt at a task runs, as the dispatcher sees it; and the simplest answer: right here."""

import json
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from nestevo_hw.base.memory import peak_bytes
from nestevo_hw.scheduler.calling import Reply, call
from nestevo_hw.scheduler.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An attempt has begun."""

    id: int
    at_s: float
    """`time.monotonic()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An attempt is over."""

    id: int
    at_s: float
    """`time.monotonic()`."""
    reply: Reply | None
    """None if it died before it could answer."""
    status: int
    """Exit status; minus the signal's number if a signal killed it."""
    peak_bytes: int
    """Most memory that it took of its own."""
    shared_bytes: int
    """Resident memory that it shared."""
    gpu_bytes: int | None = None
    """Most memory that it took of its GPU, context included; None where it had none, or could not tell."""
    ran_s: float | None = None
    """How long it ran, seconds, where the worker measured that itself: its `Started` only told that it was sent off."""
    device_lost: bool = False
    """Whether the attempt ended only because its device is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLost:
    """A device is gone for good; the ends of its attempts are told besides."""

    device: int


Event = Started | Ended | DeviceLost


class Workers(Protocol):
    """Starts attempts, identified by numbers that are never used again, and tells what becomes of them."""

    def start(self, attempt: int, task: Task, device: int) -> None:
        """Begin an attempt on a device."""
        ...

    def wait(self, timeout_s: float | None) -> Sequence[Event]:
        """What happened since; blocks until something does, or until the timeout."""
        ...

    def held(self) -> Mapping[int, int]:
        """Bytes that running attempts take of their own now; without those of which that is not known."""
        ...

    def stop(self, attempts: Collection[int]) -> None:
        """End these attempts, and return when they have ended."""
        ...

    def close(self) -> None:
        """End everything."""
        ...


class InlineWorkers:
    """Runs each attempt in this very process as it starts: for debugging and small tests."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def start(self, attempt: int, task: Task, device: int) -> None:
        """See `Workers.start`; returns when the attempt has ended."""
        del device
        self._events.append(Started(id=attempt, at_s=time.monotonic()))
        before = peak_bytes(shared=0)
        with _torch_threads(task.cores):
            reply = call(task.function, json.dumps(dict(task.payload)))
        peak = peak_bytes(shared=before)
        ended = Ended(id=attempt, at_s=time.monotonic(), reply=reply, status=0, peak_bytes=peak, shared_bytes=before)
        self._events.append(ended)

    def wait(self, timeout_s: float | None) -> Sequence[Event]:
        """See `Workers.wait`; blocks only if nothing has run."""
        if not self._events and timeout_s:
            time.sleep(timeout_s)
        events, self._events = self._events, []
        return events

    def held(self) -> Mapping[int, int]:
        """See `Workers.held`: nothing runs between calls."""
        return {}

    def stop(self, attempts: Collection[int]) -> None:
        """See `Workers.stop`: nothing runs between calls."""
        del attempts
        self._events.clear()

    def close(self) -> None:
        """See `Workers.close`."""


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Compute with as many threads as a worker would, so that results are equal to the last bit."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
