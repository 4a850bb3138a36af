"""A knapsack that knows what a task is worth to the user: accuracy expected to be won per second."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nestevo_hw.scheduler.devices import DeviceState, Placement
from nestevo_hw.scheduler.knapsack import MIB, pack
from nestevo_hw.scheduler.task import Task

LEAST_GAIN = 1e-4
"""A task that wins nothing still runs in memory that nobody else can use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecyclePolicy:
    """The set of tasks that fits and raises the life-cycle performance (eq. 6-8) fastest.

    Of a window of length T, a terminal whose model gains `expected_gain` and is evolved at time C enjoys it for T - C:
    each second of delay costs expected_gain / T, and a task that occupies memory for duration_s wins
    expected_gain / duration_s per second. Without any known gain this is Algorithm 3.
    """

    unit_bytes: int = MIB
    name: ClassVar[str] = "lifecycle"
    summary: ClassVar[str] = "a knapsack of the accuracy expected to be won per second (eq. 6-8)"

    def choose(self, waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        """See `Policy.choose`."""
        usual = usual_gain(waiting)
        return pack(waiting, devices, lambda task: gain_of(task, usual) / task.duration_s, self.unit_bytes)


def usual_gain(tasks: Sequence[Task]) -> float:
    """Mean of the known gains, for tasks whose own is not known; 1 if none is."""
    known = [t.expected_gain for t in tasks if t.expected_gain is not None]
    return statistics.fmean(known) if known else 1.0


def gain_of(task: Task, usual: float) -> float:
    """Expected gain of a task, > 0."""
    return max(usual if task.expected_gain is None else task.expected_gain, LEAST_GAIN)
