"""One try at a task, and what is told of it."""

from dataclasses import dataclass
from typing import Literal

from nestevo_hw.scheduler.task import Excess, Task, TaskFailure

EventKind = Literal["started", "ended", "exceeded", "retried", "failed"]
"""Exceeded: it takes more memory than it reserved, told once an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """Something happened to a task."""

    kind: EventKind
    task: Task
    """With the reservation in force, which a retry enlarges."""
    at_s: float
    """Seconds since the executor's start."""
    message: str = ""
    """How much it takes, why it is tried again, or why it has failed."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A task that waits or runs."""

    task: Task
    original: Task
    submitted_s: float
    number: int = 1
    losses: int = 0
    """Attempts that ended because their device was lost."""
    device: int = -1
    slot: int = -1
    admitted_s: float = 0.0
    started_s: float | None = None
    excess: Excess | None = None
    """Of this attempt."""
    earlier: Excess | None = None
    """Of those before."""

    def failure(self, reason: str, *, error_type: str = "", traceback: str = "") -> TaskFailure:
        """That it failed for good, and why."""
        return TaskFailure(
            name=self.task.name,
            reason=reason,
            attempts=self.number + self.losses,
            error_type=error_type,
            traceback=traceback,
            excess=self.excess or self.earlier,
        )
