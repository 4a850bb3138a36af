"""Where an attempt at a task runs: in a forked process of its own, or right here."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import send_handle
from typing import Any, Protocol

from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.base.memory import peak_bytes, unshared_bytes
from nestevo_hw.scheduler.calling import Reply, call
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.forkserver import GRACE_S
from nestevo_hw.scheduler.task import Task

SERVER_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "ORT_DISABLE_TELEMETRY": "1",
}
"""A process with several threads must not fork. ONNX Runtime starts one for its telemetry as it is imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker has begun."""

    id: int
    at_s: float
    """`time.monotonic()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A worker is gone."""

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

    @property
    def held_bytes(self) -> int:
        """Most that it took of the memory it had reserved: its GPU's, else the machine's."""
        return self.peak_bytes if self.gpu_bytes is None else self.gpu_bytes


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


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    inherited_bytes: int
    """Memory of the server when it was forked, pages of files left out."""


class ForkedWorkers:
    """One process for each attempt, forked from a server that has imported the heavy modules once."""

    def __init__(self, preload: Sequence[str], devices: Sequence[Device]) -> None:
        self._devices = devices
        self._server, theirs = Pipe()
        paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - the empty entry means here
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "nestevo_hw.scheduler.forkserver", str(theirs.fileno()), *preload],
            env={**os.environ, **SERVER_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # standard output belongs to the command's own document
        )
        theirs.close()
        self._channels: dict[int, Connection] = {}
        self._processes: dict[int, _Process] = {}
        """Of attempts that have started."""
        self._placed: dict[int, Device] = {}
        self._replies: dict[int, Reply] = {}
        self._untold: list[Event] = []
        """What became of other workers while some were being stopped."""

    def start(self, attempt: int, task: Task, device: int) -> None:
        """See `Workers.start`."""
        if self._server.closed:
            raise TaskError("the executor is closed and runs no more tasks; open another")
        channel, theirs = Pipe()
        with theirs:
            try:
                self._tell({"start": attempt, "cores": task.cores})
                send_handle(self._server, theirs.fileno(), self._process.pid)
            except ConnectionError as error:
                channel.close()
                raise self._server_gone() from error
        self._channels[attempt] = channel
        self._placed[attempt] = own = self._devices[device]
        most = own.allocator_bytes(task.memory_bytes)
        request = {
            "function": task.function,
            "payload": json.dumps(dict(task.payload)),
            "gpu": None if own.gpu is None else {"number": own.gpu, "bytes": most},
        }
        with suppress(ConnectionError):  # it died at once: its end is reported
            channel.send_bytes(json.dumps(request).encode())

    def wait(self, timeout_s: float | None) -> Sequence[Event]:
        """See `Workers.wait`."""
        if self._untold:
            told, self._untold = self._untold, []
            return told
        return self._events(timeout_s)

    def _events(self, timeout_s: float | None) -> list[Started | Ended]:
        pending = [channel for attempt, channel in self._channels.items() if attempt not in self._replies]
        ready = wait([self._server, *pending], timeout_s)
        for attempt, channel in self._channels.items():
            if channel in ready:
                self._receive(attempt, channel)
        return [self._event()] if self._server in ready else []

    def _receive(self, attempt: int, channel: Connection) -> None:
        try:
            self._replies[attempt] = json.loads(channel.recv_bytes())
        except (EOFError, ConnectionError):
            self._replies[attempt] = {}

    def _event(self) -> Started | Ended:
        try:
            event = json.loads(self._server.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise self._server_gone() from error
        if event["event"] == "failed":
            raise ConfigError(f"workers cannot import {event['module']}: {event['why']}; run `nestevo-hw doctor`")
        attempt, at_s = event["id"], event["at_s"]
        if event["event"] == "started":
            self._processes[attempt] = _Process(event["pid"], event["inherited_bytes"])
            return Started(id=attempt, at_s=at_s)
        with self._channels.pop(attempt) as channel:
            if attempt not in self._replies:
                self._receive(attempt, channel)
        reply = self._replies.pop(attempt) or None
        shared_bytes = self._processes.pop(attempt).inherited_bytes + (reply["file_bytes"] if reply else 0)
        return Ended(
            id=attempt,
            at_s=at_s,
            reply=reply,
            status=event["status"],
            peak_bytes=max(event["peak_bytes"] - shared_bytes, 0),
            shared_bytes=shared_bytes,
            gpu_bytes=self._placed.pop(attempt).gpu_taken(reply["gpu_reserved_bytes"] if reply else None),
        )

    def held(self) -> Mapping[int, int]:
        """See `Workers.held`."""
        now = {attempt: (unshared_bytes(p.pid), p.inherited_bytes) for attempt, p in self._processes.items()}
        return {attempt: max(taken - shared, 0) for attempt, (taken, shared) in now.items() if taken is not None}

    def stop(self, attempts: Collection[int]) -> None:
        """See `Workers.stop`: they are asked, then after a grace of seconds killed."""
        self._untold = [e for e in self._untold if isinstance(e, DeviceLost) or e.id not in attempts]
        waiting_for = self._channels.keys() & set(attempts)
        if not waiting_for:
            return
        with suppress(ConnectionError, ConfigError, TaskError):  # no server, no workers
            self._tell({"stop": sorted(waiting_for)})
            while waiting_for:
                for event in self._events(None):
                    if event.id not in waiting_for:
                        self._untold.append(event)
                    elif isinstance(event, Ended):
                        waiting_for.discard(event.id)

    def close(self) -> None:
        """See `Workers.close`; the server stops its workers when its connection ends."""
        self._server.close()
        for channel in self._channels.values():
            channel.close()
        if not self._channels:
            self._process.kill()  # idle, or still importing: nothing to clean up
        try:
            self._process.wait(2 * GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._channels.clear()

    def _tell(self, message: dict[str, Any]) -> None:
        self._server.send_bytes(json.dumps(message).encode())

    def _server_gone(self) -> TaskError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        return TaskError(
            f"the process that starts workers ended unexpectedly (exit status {self._process.returncode}); "
            "its messages are above; if memory ran out, use fewer workers"
        )


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
