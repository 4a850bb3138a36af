"""Attempts in processes of this machine: one forked for each, and for each slot of a GPU one that stays."""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, wait

from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.base.memory import unshared_bytes
from nestevo_hw.scheduler.calling import Reply
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.server_process import ServerProcess
from nestevo_hw.scheduler.task import Task
from nestevo_hw.scheduler.workers import DeviceLost, Ended, Event, Started


@dataclass(slots=True, kw_only=True, eq=False)
class _Process:
    """A worker process."""

    number: int
    channel: Connection
    device: int
    stays: bool
    """Whether it takes one task after another."""
    attempt: int | None = None
    """That it works at, or will once it is ready."""
    reserved_bytes: int = 0
    """Of that attempt."""
    pid: int | None = None
    """Once it has started."""
    idle_bytes: int = 0
    """Memory, pages of files left out, that it had before its task."""
    ready: bool = False
    reply: Reply | None = None
    heard: bool = True
    """Whether anything more may come over its channel."""


class ForkedWorkers:
    """Processes forked from a server that has imported the heavy modules once.

    A task gets a process of its own, which ends with it. One that reserves memory of a GPU gets a process that has its
    context on that GPU already, if one is idle, and leaves it to the next; one whose task died, was stopped, ran out of
    memory or left something behind is replaced. Idle ones go where a task needs the memory of their contexts.

    Args:
        preload: modules to import.
        devices: that tasks are placed on. For those that are GPUs as many processes are started at once as their memory
            and cores allow, so that contexts are made while other work goes on.
        server: that has been started with these modules; None starts one.
    """

    def __init__(self, preload: Sequence[str], devices: Sequence[Device], server: ServerProcess | None = None) -> None:
        self._devices = devices
        self._server = server or ServerProcess(preload)
        self._numbers = count()
        self._processes: dict[int, _Process] = {}
        self._untold: list[Event] = []
        """What became of other workers while some were being stopped, and of tasks that began at once."""
        for index, device in enumerate(devices):
            for _ in range(device.workers_at_once) if device.gpu is not None else ():
                with suppress(TaskError):  # the server is gone: the first task tells
                    self._fork(index, stays=True)

    def start(self, attempt: int, task: Task, device: int) -> None:
        """See `Workers.start`."""
        if self._server.connection.closed:
            raise TaskError("the executor is closed and runs no more tasks; open another")
        own = self._devices[device]
        process = self._gpu_worker(device, task) if own.gpu is not None and task.memory_bytes else None
        process = process or self._fork(device, stays=False)
        process.attempt, process.reserved_bytes = attempt, task.memory_bytes
        request = {
            "function": task.function,
            "payload": json.dumps(dict(task.payload)),
            "cores": task.cores,
            "gpu_bytes": None if own.gpu is None else own.allocator_bytes(task.memory_bytes),
        }
        with suppress(ConnectionError):  # it died at once: its end is reported
            process.channel.send_bytes(json.dumps(request).encode())
        if process.ready:
            self._untold.append(Started(id=attempt, at_s=time.monotonic()))

    def _gpu_worker(self, device: int, task: Task) -> _Process:
        """An idle worker of a GPU, or a new one; others go if their contexts leave too little memory for the task."""
        own = self._devices[device]
        here = [p for p in self._processes.values() if p.device == device and p.stays]
        idle = sorted((p for p in here if p.attempt is None and p.heard), key=lambda p: not p.ready)
        free_bytes = own.memory_bytes - task.memory_bytes - sum(p.reserved_bytes for p in here)
        spare = max(free_bytes, 0) // own.context_bytes if own.context_bytes else len(idle)
        self._end(idle[1 + spare :])
        return idle[0] if idle and idle[0].heard else self._fork(device, stays=True)

    def _fork(self, device: int, *, stays: bool) -> _Process:
        number = next(self._numbers)
        channel = self._server.fork(number, self._devices[device].gpu if stays else None)
        process = self._processes[number] = _Process(number=number, channel=channel, device=device, stays=stays)
        return process

    def wait(self, timeout_s: float | None) -> Sequence[Event]:
        """See `Workers.wait`."""
        if self._untold:
            told, self._untold = self._untold, []
            return told
        return self._events(timeout_s)

    def _events(self, timeout_s: float | None) -> list[Event]:
        pending = {p.channel: p for p in self._processes.values() if p.heard}
        ready = wait([self._server.connection, *pending], timeout_s)
        events: list[Event] = []
        for channel, process in pending.items():
            if channel in ready:
                events += self._heard(process)
        if self._server.connection in ready:
            events += self._told()
        return events

    def _heard(self, process: _Process) -> list[Event]:
        """What a worker says."""
        try:
            message: Reply = json.loads(process.channel.recv_bytes())
        except (EOFError, ConnectionError):
            process.heard = False
            return []
        process.idle_bytes = message.get("idle_bytes", process.idle_bytes)
        if "ready" in message:
            process.ready = True
            return [] if process.attempt is None else [Started(id=process.attempt, at_s=time.monotonic())]
        process.reply = message
        if not message.get("stays"):
            process.heard = False  # its end follows
            return []
        return self._ended(process, status=0, peak_bytes=0)

    def _told(self) -> list[Event]:
        """What the server says."""
        event = self._server.event()
        process = self._processes[event["id"]]
        if event["event"] == "started":
            process.pid = event["pid"]
            if process.stays:
                return []
            process.idle_bytes = event["inherited_bytes"]
            return [] if process.attempt is None else [Started(id=process.attempt, at_s=event["at_s"])]
        events: list[Event] = []
        while process.heard:
            events += self._heard(process)
        del self._processes[process.number]
        process.channel.close()
        return [*events, *self._ended(process, status=event["status"], peak_bytes=event["peak_bytes"])]

    def _ended(self, process: _Process, *, status: int, peak_bytes: int) -> list[Event]:
        """That the attempt of a worker has ended, if it had one."""
        attempt, reply = process.attempt, process.reply
        process.attempt, process.reply, process.reserved_bytes = None, None, 0
        if attempt is None:
            return []
        shared_bytes = process.idle_bytes + (reply["file_bytes"] if reply else 0)
        taken_bytes = max(peak_bytes - shared_bytes, 0)
        if reply is not None and process.stays:  # it counts by itself, from one task to the next
            shared_bytes, taken_bytes = reply["shared_bytes"], reply["peak_bytes"]
        ended = Ended(
            id=attempt,
            at_s=time.monotonic(),
            reply=reply,
            status=status,
            peak_bytes=taken_bytes,
            shared_bytes=shared_bytes,
            gpu_bytes=self._devices[process.device].gpu_taken(reply["gpu_reserved_bytes"] if reply else None),
            ran_s=reply.get("ran_s") if reply else None,
        )
        return [ended]

    def held(self) -> Mapping[int, int]:
        """See `Workers.held`."""
        found: dict[int, int] = {}
        for process in self._processes.values():
            if process.attempt is not None and process.pid is not None and (process.ready or not process.stays):
                now_bytes = unshared_bytes(process.pid)
                if now_bytes is not None:
                    found[process.attempt] = max(now_bytes - process.idle_bytes, 0)
        return found

    def stop(self, attempts: Collection[int]) -> None:
        """See `Workers.stop`: they are asked, then after a grace of seconds killed."""
        self._untold = [e for e in self._untold if isinstance(e, DeviceLost) or e.id not in attempts]
        wanted = [p for p in self._processes.values() if p.attempt in attempts]
        with suppress(ConnectionError, ConfigError, TaskError):  # no server, no workers
            self._end(wanted)
        self._untold = [e for e in self._untold if isinstance(e, DeviceLost) or e.id not in attempts]

    def _end(self, processes: Iterable[_Process]) -> None:
        """End workers, and return when they are gone; what happens to others meanwhile is told later."""
        wanted = {process.number for process in processes}
        if not wanted:
            return
        self._server.tell({"stop": sorted(wanted)})
        while not wanted.isdisjoint(self._processes):
            self._untold += self._events(None)

    def close(self) -> None:
        """See `Workers.close`; the server stops its workers when its connection ends."""
        for process in self._processes.values():
            process.channel.close()
        self._server.busy = bool(self._processes)
        self._server.close()
        self._processes.clear()
