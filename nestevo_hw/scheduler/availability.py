"""Free memory and cores of devices over the time to come, into which tasks are booked."""

from bisect import bisect_right
from collections.abc import Sequence

from nestevo_hw.scheduler.devices import DeviceState
from nestevo_hw.scheduler.task import Task

Slot = tuple[float, int, int, float]
"""A stretch of time: its start, the step that begins there, the first step at or after its end, and its end."""


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

    def earliest(self, task: Task, latest_s: float = float("inf")) -> Slot | None:
        """The first stretch of time in which the task could run to its end.

        Args:
            task: to run.
            latest_s: later starts are of no interest.

        Returns:
            None if the device is too small, or the task would start later.
        """
        times, free, cores = self._times, self._free, self._cores
        need_bytes, need_cores, steps, first = task.memory_bytes, task.cores, len(self._times), 0
        while True:
            while first < steps and (free[first] < need_bytes or cores[first] < need_cores):
                first += 1
            if first == steps or times[first] > latest_s:
                return None
            end_s, last = times[first] + task.duration_s, first + 1
            while last < steps and times[last] < end_s:
                if free[last] < need_bytes or cores[last] < need_cores:
                    break
                last += 1
            else:
                return times[first], first, last, end_s
            first = last + 1

    def take(self, slot: Slot, task: Task) -> None:
        """Take the task's memory and cores in a stretch that `earliest` has found, with nothing booked since."""
        _, first, last, end_s = slot
        times, free, cores = self._times, self._free, self._cores
        if last == len(times) or times[last] != end_s:
            times.insert(last, end_s)
            free.insert(last, free[last - 1])
            cores.insert(last, cores[last - 1])
        used_bytes, used_cores = task.memory_bytes, task.cores
        for k in range(first, last):
            free[k] -= used_bytes
            cores[k] -= used_cores

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
    chosen, slot = 0, devices[0].earliest(task)
    for index in range(1, len(devices)):  # most machines have one, and this is the inmost loop of a search
        latest_s = float("inf") if slot is None else slot[0]
        other = devices[index].earliest(task, latest_s)
        smaller = devices[index].size_bytes < devices[chosen].size_bytes
        if other is not None and (other[0] < latest_s or smaller):
            chosen, slot = index, other
    if slot is None:
        raise ValueError(f"task {task.name} fits on no device")
    devices[chosen].take(slot, task)
    return slot[0], chosen
