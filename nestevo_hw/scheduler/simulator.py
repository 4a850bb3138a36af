"""The policies on predicted durations: a discrete-event clock instead of workers."""

import heapq
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nestevo_hw.errors import TaskError
from nestevo_hw.scheduler.policies import Machine, Policy
from nestevo_hw.scheduler.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """When and where a task would run; times in seconds since all tasks arrived."""

    task: Task
    started_s: float
    """Also its waiting time."""
    ended_s: float
    """Also its turnaround time."""
    worker: int
    """Slot of the machine, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A simulated schedule, in order of start. Durations are predictions, so these times are modelled."""

    tasks: tuple[PlannedTask, ...]

    @property
    def mean_wait_s(self) -> float:
        """Mean time from arrival to start; 0 without tasks."""
        return statistics.fmean(p.started_s for p in self.tasks) if self.tasks else 0.0

    @property
    def mean_turnaround_s(self) -> float:
        """Mean time from arrival to end, t_w + t_r of eq. 9; 0 without tasks."""
        return statistics.fmean(p.ended_s for p in self.tasks) if self.tasks else 0.0

    @property
    def makespan_s(self) -> float:
        """Time at which the last task ends."""
        return max((p.ended_s for p in self.tasks), default=0.0)


def simulate(tasks: Sequence[Task], policy: Policy, machine: Machine) -> Plan:
    """What the executor would do with these tasks if every prediction held.

    Args:
        tasks: in order of arrival; all arrive at time 0.
        policy: chooses among waiting tasks, again whenever one ends.
        machine: memory and worker slots.

    Raises:
        ConfigError: a task can never run on this machine, or two share a name.
    """
    machine.check(tasks)
    waiting = list(tasks)
    running: list[tuple[float, int, PlannedTask]] = []
    """Heap of (end, number, task)."""
    planned: list[PlannedTask] = []
    now_s = 0.0
    while waiting or running:
        for task in machine.admit(policy, waiting, [p.task for _, _, p in running]):
            slot = machine.free_slot([p.worker for _, _, p in running])
            start = PlannedTask(task=task, started_s=now_s, ended_s=now_s + task.duration_s, worker=slot)
            waiting.remove(task)
            heapq.heappush(running, (start.ended_s, len(planned), start))
            planned.append(start)
        if not running:
            raise TaskError(f"policy {policy.name!r} starts none of {len(waiting)} tasks on an idle machine")
        now_s = running[0][0]
        while running and running[0][0] <= now_s:
            heapq.heappop(running)
    return Plan(tasks=tuple(planned))
