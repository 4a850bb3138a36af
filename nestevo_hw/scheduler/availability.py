"""Free memory and cores of devices over the time to come, into which tasks are booked."""

from collections.abc import Sequence

from nestevo_hw.scheduler.devices import DeviceState
from nestevo_hw.scheduler.task import Task


class Availability:
    """What is free on one device from now on, as steps in time.

    Args:
        state: the device now; its running tasks are taken to end as predicted.
    """

    __slots__ = ("_cores", "_free", "_times", "size_bytes")

    def __init__(self, state: DeviceState | None) -> None:
        self.size_bytes = state.device.memory_bytes if state is not None else 0
        self._times: list[float] = [0.0]
        self._free: list[int] = [0]
        self._cores: list[int] = [0]
        if state is not None:
            self._free, self._cores = [state.device.memory_bytes], [state.device.cores]
            for running in state.running:
                self.book(0.0, running.task, running.remaining_s)

    def copy(self) -> "Availability":
        """One to try things on."""
        other = Availability(None)
        other.size_bytes = self.size_bytes
        other._times, other._free, other._cores = self._times[:], self._free[:], self._cores[:]
        return other

    def earliest_s(self, task: Task) -> float:
        """First time at which the task could start and run to its end; infinite if the device is too small."""
        times, free, cores = self._times, self._free, self._cores
        need_bytes, need_cores, duration_s = task.memory_bytes, task.cores, task.duration_s
        start, end_s = 0, duration_s
        for k in range(len(times)):
            if start < k and times[k] >= end_s:
                break
            if free[k] < need_bytes or cores[k] < need_cores:
                start = k + 1
                if start < len(times):
                    end_s = times[start] + duration_s
        return times[start] if start < len(times) else float("inf")

    def book(self, start_s: float, task: Task, duration_s: float) -> None:
        """Take the task's memory and cores from `start_s` on."""
        first, last = self._split(start_s), self._split(start_s + duration_s)
        for k in range(first, last):
            self._free[k] -= task.memory_bytes
            self._cores[k] -= task.cores

    def _split(self, at_s: float) -> int:
        """Index of the step that begins at `at_s`, made if need be."""
        times = self._times
        k = len(times)
        while times[k - 1] > at_s:
            k -= 1
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
    start_s, _, device = min((d.earliest_s(task), d.size_bytes, index) for index, d in enumerate(devices))
    devices[device].book(start_s, task, task.duration_s)
    return start_s, device
