"""Free memory and cores of devices over the time to come, into which tasks are booked."""

from bisect import bisect_right
from collections.abc import Sequence

from nestevo_hw.scheduler.devices import DeviceState
from nestevo_hw.scheduler.task import Task


class Availability:
    """What is free on one device from now on, as steps in time.

    Args:
        state: the device now; its running tasks are taken to end as predicted.
    """

    __slots__ = ("_cores", "_free", "_times", "size_bytes")

    def __init__(self, state: DeviceState) -> None:
        self.size_bytes = state.device.memory_bytes
        self._times: list[float] = [0.0]
        self._free: list[int] = [state.device.memory_bytes]
        self._cores: list[int] = [state.device.cores]
        for running in state.running:
            self.book(0.0, running.task, running.remaining_s)

    def copy(self) -> "Availability":
        """One to try things on."""
        other = Availability.__new__(Availability)
        other.size_bytes = self.size_bytes
        other._times, other._free, other._cores = self._times[:], self._free[:], self._cores[:]
        return other

    def earliest_s(self, task: Task) -> float:
        """First time at which the task could start and run to its end; infinite if the device is too small."""
        need_bytes, need_cores, duration_s = task.memory_bytes, task.cores, task.duration_s
        start_s, end_s, blocked = 0.0, duration_s, False
        for at_s, free, cores in zip(self._times, self._free, self._cores, strict=True):
            if blocked:
                start_s, end_s, blocked = at_s, at_s + duration_s, False
            elif at_s >= end_s:
                return start_s
            if free < need_bytes or cores < need_cores:
                blocked = True
        return float("inf") if blocked else start_s

    def book(self, start_s: float, task: Task, duration_s: float) -> None:
        """Take the task's memory and cores from `start_s` on."""
        first, last = self._split(start_s), self._split(start_s + duration_s)
        free, cores, used_bytes, used_cores = self._free, self._cores, task.memory_bytes, task.cores
        for k in range(first, last):
            free[k] -= used_bytes
            cores[k] -= used_cores

    def _split(self, at_s: float) -> int:
        """Index of the step that begins at `at_s`, made if need be."""
        times = self._times
        k = bisect_right(times, at_s)
        if times[k - 1] == at_s:
            return k - 1
        times.insert(k, at_s)
        self._free.insert(k, self._free[k - 1])
        self._cores.insert(k, self._cores[k - 1])
        return k


def book(task: Task, devices: Sequence[Availability]) -> tuple[float, int]:
    """Book a task as early as it fits: on the device where it can start first, the smallest of several such.

    Returns:
        Its start, seconds from now, and its device.
    """
    if len(devices) == 1:  # most machines, and the inmost loop of a search
        start_s, device = devices[0].earliest_s(task), 0
    else:
        start_s, _, device = min((d.earliest_s(task), d.size_bytes, index) for index, d in enumerate(devices))
    devices[device].book(start_s, task, task.duration_s)
    return start_s, device
