"""Admission: what a policy may choose from, so that no task waits for ever, and where its choice starts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.scheduler.devices import Device, DeviceState, Placement, Running
from nestevo_hw.scheduler.task import Task

PATIENCE_S = 1800.0
OVERDUE_SHARE = 0.1
"""A task that outlasts its prediction is expected to need this share of its prediction more."""


class Policy(Protocol):
    """A choice among waiting tasks, made again whenever a task arrives or ends.

    Every policy is deterministic, never chooses more memory or cores than are free, starts something on idle devices
    if anything fits there, and lets tasks of a higher priority go first.
    """

    @property
    def name(self) -> str:
        """Short and stable, as on the command line."""
        ...

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        ...

    def choose(self, waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        """Tasks to start now and where, the most urgent first.

        Args:
            waiting: tasks that could start, in order of arrival; each would fit on some device if that were idle.
            devices: what is free, and what runs with its predicted time to go.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A waiting task."""

    task: Task
    arrived_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A running task and what it holds."""

    task: Task
    device: int
    started_s: float

    def remaining_s(self, now_s: float) -> float:
        """Predicted time to its end, > 0."""
        return max(self.started_s + self.task.duration_s - now_s, OVERDUE_SHARE * self.task.duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Devices and the rule against starvation, which is the same for all policies.

    A policy sees only tasks that arrived at most `patience_s` after the one that has waited longest. A task can thus be
    overtaken by finitely many others, however many arrive later; and where all arrive together, by any.
    """

    devices: tuple[Device, ...]
    patience_s: float = PATIENCE_S
    host_bytes: int | None = None
    """Main memory that tasks on GPUs may reserve together beside the memory of these; None: no limit."""

    def __post_init__(self) -> None:
        if not self.devices:
            raise ConfigError("need at least one device to run tasks on")
        if self.patience_s < 0.0:
            raise ConfigError(f"patience_s must be 0 or more, got {self.patience_s}")

    @classmethod
    def single(cls, memory_bytes: int, cores: int) -> "Machine":
        """A machine whose memory all tasks share.

        Raises:
            ConfigError: memory or cores are not positive.
        """
        return cls(devices=(Device(memory_bytes=memory_bytes, cores=cores),))

    @property
    def slots(self) -> int:
        """Worker slots of all devices."""
        return sum(device.cores for device in self.devices)

    def check(self, tasks: Sequence[Task]) -> None:
        """Check that every task could run here alone, under a name of its own.

        Raises:
            ConfigError: a task needs more memory or cores than any device has, or two share a name.
        """
        seen: set[str] = set()
        for task in tasks:
            if task.name in seen:
                raise ConfigError(f"two tasks are called {task.name!r}; give each its own name")
            seen.add(task.name)
            if (refusal := self.refusal(task)) is not None:
                raise ConfigError(refusal)

    def refusal(self, task: Task) -> str | None:
        """Why the task could not run here even alone, as a sentence; None if it could."""
        if any(device.could_hold(task) for device in self.devices):
            return None
        most = max(device.memory_bytes for device in self.devices)
        if task.memory_bytes > most:
            return (
                f"task {task.name!r} is predicted to need {task.memory_bytes / 1e9:.2f} GB but tasks may use "
                f"{most / 1e9:.2f} GB together; allow more memory, or make the task smaller (smaller batch or frames)"
            )
        cores = max(device.cores for device in self.devices if device.memory_bytes >= task.memory_bytes)
        return f"task {task.name!r} needs {task.cores} cores but there are {cores} workers; allow more"

    def admit(
        self,
        policy: Policy,
        waiting: Sequence[Queued],
        running: Sequence[Reservation],
        now_s: float,
        lost: Collection[int] = (),
    ) -> list[Placement]:
        """Tasks that start now, as the policy chooses among those that may; none on a lost device."""
        if not waiting:
            return []
        latest_s = min(q.arrived_s for q in waiting) + self.patience_s
        states = [
            DeviceState(
                device=device,
                running=tuple(
                    Running(task=r.task, remaining_s=r.remaining_s(now_s)) for r in running if r.device == index
                ),
            )
            for index, device in enumerate(self.devices)
            if index not in lost
        ]
        indices = [index for index in range(len(self.devices)) if index not in lost]
        chosen = policy.choose([q.task for q in waiting if q.arrived_s <= latest_s], states)
        return self._within_main_memory([Placement(p.task, indices[p.device]) for p in chosen], running)

    def _within_main_memory(self, chosen: list[Placement], running: Sequence[Reservation]) -> list[Placement]:
        """Those for which main memory is left beside the memory of GPUs; whatever it needs, one may run alone."""
        if self.host_bytes is None:
            return chosen
        kept, free_bytes = list[Placement](), self.host_bytes - sum(r.task.host_bytes for r in running)
        for placement in chosen:
            if placement.task.host_bytes <= free_bytes or not (running or kept):
                kept.append(placement)
                free_bytes -= placement.task.host_bytes
        return kept

    def remaining(self, lost: Collection[int]) -> list[Device]:
        """Devices that are not lost."""
        return [device for index, device in enumerate(self.devices) if index not in lost]

    def free_slot(self, device: int, taken: Collection[int]) -> int:
        """The lowest worker slot of a device that is not taken; slots are numbered through all devices."""
        first = sum(d.cores for d in self.devices[:device])
        return next(slot for slot in range(first, first + self.devices[device].cores) if slot not in taken)
