"""The policies on predicted tasks: a discrete-event clock instead of workers."""

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.scheduler.machine import Machine, Policy, Queued, Reservation
from nestevo_hw.scheduler.task import Task

FAILS_AFTER = 0.5
"""Share of its work that a task has done when it runs out of the memory it reserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reality:
    """How what happens differs from what was predicted. Policies see predictions only."""

    duration_error: float = 0.0
    """Standard deviation of ln(true duration / predicted duration)."""
    memory_error: float = 0.0
    """Standard deviation of ln(true peak / predicted peak). A task that needs more than it reserved fails, and is run
    again with twice the reservation or 1.25 times its peak, as the executor does."""
    contention: float = 0.0
    """How much longer a task takes for each other one on the same device: 0.1 is 10 %."""
    seed: int = 0
    """Errors depend on it and on the task's name."""

    def __post_init__(self) -> None:
        if min(self.duration_error, self.memory_error, self.contention) < 0.0:
            raise ConfigError("duration_error, memory_error and contention must be 0 or more")

    def work_s(self, task: Task) -> float:
        """True duration of a task that runs alone, seconds."""
        return task.duration_s * math.exp(self.duration_error * self._draw("duration", task))

    def peak_bytes(self, task: Task) -> int:
        """True peak of a task."""
        return round(task.memory_bytes * math.exp(self.memory_error * self._draw("memory", task)))

    def _draw(self, what: str, task: Task) -> float:
        return random.Random(f"{self.seed}/{what}/{task.name}").gauss()


AS_PREDICTED = Reality()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledTask:
    """When and where a task would run; times in seconds since the schedule began."""

    task: Task
    started_s: float
    """Of its last attempt."""
    ended_s: float
    worker: int
    """Slot, from 0; slots are numbered through all devices."""
    device: int = 0
    attempts: int = 1

    @property
    def wait_s(self) -> float:
        """From its arrival to its start."""
        return self.started_s - self.task.arrives_s

    @property
    def turnaround_s(self) -> float:
        """From its arrival to its end, t_w + t_r of eq. 9."""
        return self.ended_s - self.task.arrives_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A simulated schedule, in order of start. All times are modelled."""

    tasks: tuple[ScheduledTask, ...]

    @property
    def mean_wait_s(self) -> float:
        """Mean time from arrival to start; 0 without tasks."""
        return statistics.fmean(p.wait_s for p in self.tasks) if self.tasks else 0.0

    @property
    def longest_wait_s(self) -> float:
        """Longest time from arrival to start; 0 without tasks."""
        return max((p.wait_s for p in self.tasks), default=0.0)

    @property
    def mean_turnaround_s(self) -> float:
        """Mean time from arrival to end; 0 without tasks."""
        return statistics.fmean(p.turnaround_s for p in self.tasks) if self.tasks else 0.0

    @property
    def makespan_s(self) -> float:
        """Time at which the last task ends."""
        return max((p.ended_s for p in self.tasks), default=0.0)

    def mean_gain(self, window_s: float) -> float:
        """Accuracy won on average over a window from each task's arrival on (the gain's part of eq. 6).

        Args:
            window_s: t_total, seconds; a task that ends later wins nothing. Tasks without expected gain count as 0.
        """
        won = [(p.task.expected_gain or 0.0) * max(1.0 - p.turnaround_s / window_s, 0.0) for p in self.tasks]
        return statistics.fmean(won) if won else 0.0


@dataclass(slots=True, kw_only=True)
class _Live:
    """An attempt that runs."""

    task: Task
    """With the reservation in force."""
    original: Task
    device: int
    slot: int
    started_s: float
    left_s: float
    """Work to do at `since_s`, seconds alone on the device."""
    since_s: float
    pace: float = 1.0
    """Seconds for one second of work, since then."""
    fails: bool
    attempt: int

    @property
    def ends_s(self) -> float:
        return self.since_s + self.left_s * self.pace

    def take_pace(self, pace: float, now_s: float) -> None:
        if pace != self.pace:
            self.left_s, self.since_s, self.pace = self.left_s - (now_s - self.since_s) / self.pace, now_s, pace


@dataclass(slots=True, kw_only=True)
class _Waiting:
    queued: Queued
    original: Task
    attempt: int = 1

    @classmethod
    def of(cls, task: Task, original: Task, attempt: int = 1) -> "_Waiting":
        """An attempt at `original` with the reservation of `task`; kept, as a long queue is looked at often."""
        return cls(queued=Queued(task=task, arrived_s=original.arrives_s), original=original, attempt=attempt)


def simulate(tasks: Sequence[Task], policy: Policy, machine: Machine, reality: Reality = AS_PREDICTED) -> Schedule:
    """What the executor would do with these tasks.

    Args:
        tasks: in order of arrival, which is at their `arrives_s`.
        policy: chooses among waiting tasks, again whenever one arrives or ends.
        machine: devices they share.
        reality: how true durations and peaks differ from the predicted ones.

    Raises:
        ConfigError: a task can never run on this machine, or two share a name.
    """
    machine.check(tasks)
    return _Simulation(policy=policy, machine=machine, reality=reality, tasks=tasks).run()


@dataclass(slots=True, kw_only=True)
class _Simulation:
    policy: Policy
    machine: Machine
    reality: Reality
    tasks: Sequence[Task]
    now_s: float = 0.0
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    running: list[_Live] = field(default_factory=list)
    ended: list[ScheduledTask] = field(default_factory=list)

    def run(self) -> Schedule:
        coming = sorted(self.tasks, key=lambda t: t.arrives_s)[::-1]
        while coming or self.waiting or self.running:
            while coming and coming[-1].arrives_s <= self.now_s:
                task = coming.pop()
                self.waiting[task.name] = _Waiting.of(task, task)
            self._admit()
            if self.waiting and not self.running:
                raise TaskError(f"policy {self.policy.name!r} starts none of {len(self.waiting)} tasks on idle devices")
            self._advance(coming[-1].arrives_s if coming else math.inf)
        return Schedule(tasks=tuple(sorted(self.ended, key=lambda p: (p.started_s, p.worker))))

    def _admit(self) -> None:
        queue = [waiting.queued for waiting in self.waiting.values()]
        held = [Reservation(task=r.task, device=r.device, started_s=r.started_s) for r in self.running]
        for placement in self.machine.admit(self.policy, queue, held, self.now_s):
            waiting = self.waiting.pop(placement.task.name)
            fails = self._short_of_memory(waiting, placement.device)
            work_s = self.reality.work_s(waiting.original)
            self.running.append(
                _Live(
                    task=waiting.queued.task,
                    original=waiting.original,
                    device=placement.device,
                    slot=self.machine.free_slot(placement.device, [r.slot for r in self.running]),
                    started_s=self.now_s,
                    left_s=work_s * FAILS_AFTER if fails else work_s,
                    since_s=self.now_s,
                    fails=fails,
                    attempt=waiting.attempt,
                )
            )

    def _short_of_memory(self, waiting: _Waiting, device: int) -> bool:
        peak = self.reality.peak_bytes(waiting.original)
        return waiting.queued.task.memory_bytes < min(peak, self.machine.devices[device].memory_bytes)

    def _advance(self, next_arrival_s: float) -> None:
        """To the next end or arrival, whichever is first."""
        for live in self.running:
            others = sum(r.device == live.device for r in self.running) - 1
            live.take_pace(1.0 + self.reality.contention * others, self.now_s)
        self.now_s = min([live.ends_s for live in self.running] + [next_arrival_s])
        done = [live for live in self.running if live.ends_s <= self.now_s]
        self.running = [live for live in self.running if live.ends_s > self.now_s]
        for live in done:
            self._end(live)

    def _end(self, live: _Live) -> None:
        if live.fails:
            wanted = max(2 * live.task.memory_bytes, self.reality.peak_bytes(live.original) * 5 // 4)
            most = max(d.memory_bytes for d in self.machine.devices if d.could_hold(live.task))
            larger = replace(live.task, memory_bytes=min(wanted, most))
            again = _Waiting.of(larger, live.original, live.attempt + 1)
            self.waiting = {live.task.name: again, **self.waiting}
            return
        self.ended.append(
            ScheduledTask(
                task=live.original,
                started_s=live.started_s,
                ended_s=live.ends_s,
                worker=live.slot,
                device=live.device,
                attempts=live.attempt,
            )
        )
