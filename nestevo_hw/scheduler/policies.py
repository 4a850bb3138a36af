"""Which of the waiting tasks run now: Algorithm 3 of the paper and its two baselines."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nestevo_hw.errors import ConfigError
from nestevo_hw.scheduler.task import Task

MIB = 2**20
POLICIES = ("knapsack", "random", "serial")


class Policy(Protocol):
    """A choice among waiting tasks, made again whenever a task ends.

    Every policy is deterministic, never chooses more memory than is free, and never leaves a machine idle on which a
    waiting task fits.
    """

    @property
    def name(self) -> str:
        """One of `POLICIES`."""
        ...

    def choose(self, waiting: Sequence[Task], free_bytes: int, running: int) -> list[Task]:
        """Tasks to start now, the most urgent first.

        Args:
            waiting: tasks that could start, in order of arrival.
            free_bytes: memory that no running task has reserved.
            running: number of running tasks.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnapsackPolicy:
    """Algorithm 3: the set of tasks of the highest total time value that fits into the free memory.

    A task is worth `time_value / duration_s`, so short tasks go first; the set is found exactly, by dynamic programming
    over `dp[k][rm]`, the best value of the first k tasks in rm units of memory, in O(tasks * memory / unit) time.
    """

    unit_bytes: int = MIB
    """Resolution of memory; tasks are rounded up to it, free memory down."""
    time_value: float = 1.0
    """The paper's numerator a; it scales all values alike and so never changes the choice."""
    name: str = "knapsack"

    def __post_init__(self) -> None:
        if self.unit_bytes < 1 or self.time_value <= 0.0:
            raise ConfigError(f"need unit_bytes >= 1 and time_value > 0, got {self.unit_bytes} and {self.time_value}")

    def choose(self, waiting: Sequence[Task], free_bytes: int, running: int) -> list[Task]:
        """See `Policy.choose`."""
        del running
        chosen = self._solve(waiting, max(free_bytes, 0))
        if not chosen:
            # Rounding may refuse a task that fits exactly.
            chosen = [t for t in waiting if t.memory_bytes <= free_bytes]
            chosen = [max(chosen, key=self._value)] if chosen else []
        return sorted(chosen, key=self._value, reverse=True)

    def _value(self, task: Task) -> float:
        return self.time_value / task.duration_s

    def _solve(self, waiting: Sequence[Task], free_bytes: int) -> list[Task]:
        weights = [-(-task.memory_bytes // self.unit_bytes) for task in waiting]
        # More memory than all tasks together need changes nothing, so a large machine costs no more than its load.
        capacity = min(free_bytes // self.unit_bytes, sum(weights))
        best = np.zeros(capacity + 1)
        taken = np.zeros((len(waiting), capacity + 1), dtype=bool)
        for k, (task, weight) in enumerate(zip(waiting, weights, strict=True)):
            if weight > capacity:
                continue
            with_task = best[: capacity + 1 - weight] + self._value(task)
            taken[k, weight:] = with_task > best[weight:]
            best[weight:] = np.maximum(best[weight:], with_task)
        chosen, left = [], capacity
        for k in reversed(range(len(waiting))):
            if taken[k, left]:
                chosen.append(waiting[k])
                left -= weights[k]
        return chosen[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomParallelPolicy:
    """Baseline B1: tasks in random order, each started if it still fits.

    A task's place in the order depends on the seed and its name only, so that executor and simulator draw alike.
    """

    seed: int = 0
    name: str = "random"

    def choose(self, waiting: Sequence[Task], free_bytes: int, running: int) -> list[Task]:
        """See `Policy.choose`."""
        del running
        chosen = []
        for task in sorted(waiting, key=lambda t: random.Random(f"{self.seed}/{t.name}").random()):
            if task.memory_bytes <= free_bytes:
                chosen.append(task)
                free_bytes -= task.memory_bytes
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPolicy:
    """Baseline B2: one task at a time, in order of arrival."""

    name: str = "serial"

    def choose(self, waiting: Sequence[Task], free_bytes: int, running: int) -> list[Task]:
        """See `Policy.choose`."""
        if running:
            return []
        return [task for task in waiting if task.memory_bytes <= free_bytes][:1]


def policy_named(name: str, *, seed: int = 0) -> Policy:
    """The policy called `name`, one of `POLICIES`; `seed` serves the random one.

    Raises:
        ConfigError: no such policy.
    """
    if name == "knapsack":
        return KnapsackPolicy()
    if name == "random":
        return RandomParallelPolicy(seed=seed)
    if name == "serial":
        return SerialPolicy()
    raise ConfigError(f"unknown policy {name!r}; choose from {', '.join(POLICIES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What tasks share."""

    memory_bytes: int
    """That running tasks may reserve together."""
    cores: int
    """Worker slots."""

    def __post_init__(self) -> None:
        if self.memory_bytes < 1 or self.cores < 1:
            raise ConfigError(
                f"need memory_bytes >= 1 and at least one worker, got {self.memory_bytes} and {self.cores}"
            )

    def check(self, tasks: Sequence[Task]) -> None:
        """Check that every task could run here alone, under a name of its own.

        Raises:
            ConfigError: a task needs more memory or cores than there are, or two share a name.
        """
        seen: set[str] = set()
        for task in tasks:
            if task.name in seen:
                raise ConfigError(f"two tasks are called {task.name!r}; give each its own name")
            seen.add(task.name)
            if task.memory_bytes > self.memory_bytes:
                raise ConfigError(
                    f"task {task.name!r} is predicted to need {task.memory_bytes / 1e9:.2f} GB but tasks may use "
                    f"{self.memory_bytes / 1e9:.2f} GB together; allow more memory, or make the task smaller "
                    "(smaller batch or frames)"
                )
            if task.cores > self.cores:
                raise ConfigError(
                    f"task {task.name!r} needs {task.cores} cores but there are {self.cores} workers; allow more"
                )

    def admit(self, policy: Policy, waiting: Sequence[Task], running: Sequence[Task]) -> list[Task]:
        """Tasks that start now: the policy's choice in its order, as far as cores are free."""
        free_bytes = self.memory_bytes - sum(task.memory_bytes for task in running)
        free_cores = self.cores - sum(task.cores for task in running)
        admitted: list[Task] = []
        if not waiting or free_cores < 1:
            return admitted
        for task in policy.choose(waiting, free_bytes, len(running)):
            # A task that needs several cores holds up those behind it, or it might wait for ever.
            if task.cores > free_cores:
                break
            admitted.append(task)
            free_cores -= task.cores
        return admitted

    def free_slot(self, taken: Collection[int]) -> int:
        """The lowest worker slot that is not taken."""
        return next(slot for slot in range(self.cores) if slot not in taken)
