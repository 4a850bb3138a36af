"""Shortest remaining time first, with a reservation for the first task that must wait (EASY backfilling)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nestevo_hw.scheduler.devices import DeviceState, Placement, best_fit
from nestevo_hw.scheduler.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPolicy:
    """The shortest task first; when it does not fit, it gets a reservation and others fill the gap.

    Tasks are not interrupted, so what remains of a waiting task is all of it; what remains of the running ones says
    when the reservation can begin. A later task starts only if it ends before that, or leaves enough memory and cores.
    """

    name: ClassVar[str] = "backfill"
    summary: ClassVar[str] = "shortest first; others fill the gap before the first that must wait"

    def choose(self, waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        """See `Policy.choose`."""
        states, placed = list(devices), []
        reserved: _Reservation | None = None
        for task in sorted(waiting, key=lambda t: (-t.priority, t.duration_s, t.memory_bytes)):
            allowed = [s if reserved is None or reserved.tolerates(i, task) else None for i, s in enumerate(states)]
            fitting = [i for i, s in enumerate(allowed) if s is not None and s.fits(task)]
            if fitting:
                device = min(fitting, key=lambda i: states[i].free_bytes)
                states[device] = states[device].with_task(task)
                placed.append(Placement(task, device))
                if reserved is not None:
                    reserved = reserved.after(device, task)
            elif reserved is None and best_fit(task, states) is None:
                reserved = _reserve(task, states)
        return placed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reservation:
    device: int
    in_s: float
    """When the reserved task can start."""
    spare_bytes: int
    """Memory free beside it then."""
    spare_cores: int

    def tolerates(self, device: int, task: Task) -> bool:
        return (
            device != self.device
            or task.duration_s <= self.in_s
            or (task.memory_bytes <= self.spare_bytes and task.cores <= self.spare_cores)
        )

    def after(self, device: int, task: Task) -> "_Reservation":
        """With one more task running."""
        if device != self.device or task.duration_s <= self.in_s:
            return self
        return _Reservation(
            device=device,
            in_s=self.in_s,
            spare_bytes=self.spare_bytes - task.memory_bytes,
            spare_cores=self.spare_cores - task.cores,
        )


def _reserve(task: Task, states: Sequence[DeviceState]) -> _Reservation:
    """Where and when the task can start first, by the predicted ends of what runs."""
    found = []
    for index, state in enumerate(states):
        if not state.device.could_hold(task):
            continue
        free_bytes, free_cores, in_s = state.free_bytes, state.free_cores, 0.0
        for running in sorted(state.running, key=lambda r: r.remaining_s):
            if task.memory_bytes <= free_bytes and task.cores <= free_cores:
                break
            free_bytes, free_cores = free_bytes + running.task.memory_bytes, free_cores + running.task.cores
            in_s = running.remaining_s
        spare = (free_bytes - task.memory_bytes, free_cores - task.cores)
        found.append(_Reservation(device=index, in_s=in_s, spare_bytes=spare[0], spare_cores=spare[1]))
    return min(found, key=lambda r: r.in_s)
