"""Booking tasks into free time, against a search over all moments at which something begins or ends."""

import random
from dataclasses import dataclass

import pytest

from nestevo_hw.scheduler.availability import Availability, book
from nestevo_hw.scheduler.devices import Device, DeviceState, Running
from nestevo_hw.scheduler.task import Task


@dataclass(frozen=True)
class Booked:
    start_s: float
    end_s: float
    task: Task


def task(number: int, draw: random.Random) -> Task:
    return Task(
        name=f"t{number}", function="builtins:dict", payload={}, memory_bytes=draw.choice((0, draw.randint(1, 10))),
        duration_s=float(draw.randint(1, 6)), cores=draw.randint(1, 3),
    )  # fmt: skip


def fits(new: Task, start_s: float, device: Device, booked: list[Booked]) -> bool:
    end_s = start_s + new.duration_s
    moments = [start_s, *(b.start_s for b in booked if start_s < b.start_s < end_s)]
    beside = [[b.task for b in booked if b.start_s <= at_s < b.end_s] for at_s in moments]
    return all(
        sum(t.memory_bytes for t in [*tasks, new]) <= device.memory_bytes
        and sum(t.cores for t in [*tasks, new]) <= device.cores
        for tasks in beside
    )


def first_start(new: Task, device: Device, booked: list[Booked]) -> float:
    moments = sorted({0.0, *(b.end_s for b in booked)})
    return next((at_s for at_s in moments if fits(new, at_s, device, booked)), float("inf"))


@pytest.mark.parametrize("seed", range(30))
def test_each_task_starts_when_and_where_it_can_first(seed: int) -> None:
    draw = random.Random(seed)
    devices = [Device(memory_bytes=draw.randint(10, 14), cores=draw.randint(3, 4)) for _ in range(draw.randint(1, 3))]
    running = [
        [Running(task=task(100 + k, draw), remaining_s=float(draw.randint(1, 5)))] if draw.random() < 0.5 else []
        for k in range(len(devices))
    ]
    states = [DeviceState(device=d, running=tuple(r)) for d, r in zip(devices, running, strict=True)]
    booked = [[Booked(0.0, r.remaining_s, r.task) for r in on] for on in running]
    free = [Availability(state) for state in states]
    for number in range(25):
        new = task(number, draw)
        starts = [first_start(new, d, on) for d, on in zip(devices, booked, strict=True)]
        expected = min(range(len(devices)), key=lambda k: (starts[k], devices[k].memory_bytes, k))
        copies = [each.copy() for each in free]
        assert book(new, free) == book(new, copies) == (starts[expected], expected)
        booked[expected].append(Booked(starts[expected], starts[expected] + new.duration_s, new))


def test_what_fits_on_no_device_is_refused() -> None:
    small = Availability(DeviceState(device=Device(memory_bytes=5, cores=1)))
    large = Task(name="large", function="builtins:dict", payload={}, memory_bytes=6, duration_s=1.0)
    with pytest.raises(ValueError, match="task large fits on no device"):
        book(large, [small])
