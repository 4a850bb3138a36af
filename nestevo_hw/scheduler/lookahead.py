"""The best plan found for the next tasks, of which only the beginning is carried out."""

from collections.abc import Sequence
from dataclasses import dataclass

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.scheduler.availability import Availability, book
from nestevo_hw.scheduler.devices import DeviceState, Placement
from nestevo_hw.scheduler.knapsack import pack
from nestevo_hw.scheduler.lifecycle_knapsack import gain_of, usual_gain
from nestevo_hw.scheduler.task import Task

_MEMORY_EXPONENTS = (0.0, 0.5, 1.0)
"""Orders to begin with: by duration * memory^a; from the shortest first to the smallest share of memory-seconds."""
_PACKED_FROM = 3
"""Algorithm 3 packs from this many times as many tasks as are looked at."""
_LONG, _LESS_EFFORT = 150, 4
"""With more tasks waiting than this, a choice has this much less effort."""
_UNITS = 4096
"""Resolution of memory for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookaheadPolicy:
    """Plans the tasks at the front of the queue, starts what the plan starts now, and plans again at the next event.

    A plan is an order: each task is booked as early as it fits without delaying those before it, on the device where it
    can start first. On one device some order gives the least mean waiting time there is (Kolisch, 1996). Algorithm 3's
    order and three by simple rules are tried; the best is improved by moving single tasks until nothing helps or the
    effort is spent, which is counted in bookings and not in seconds, so that the choice is the same on every machine.
    """

    by_gain: bool = False
    """Minimise waiting weighted by expected gain, which maximises the life-cycle performance, instead of its mean."""
    front: int = 25
    """Tasks looked at: so many with the smallest share of memory-seconds, and so many that Algorithm 3 starts first."""
    most_bookings: int = 2000
    """Effort of one choice."""

    def __post_init__(self) -> None:
        if self.front < 1 or self.most_bookings < 1:
            raise ConfigError(f"need front >= 1 and most_bookings >= 1, got {self.front} and {self.most_bookings}")

    @property
    def name(self) -> str:
        """See `Policy.name`."""
        return "lookahead-gain" if self.by_gain else "lookahead"

    @property
    def summary(self) -> str:
        """See `Policy.summary`."""
        if self.by_gain:
            return "lookahead with waiting weighted by the expected gain"
        return "plans the front of the queue, starts what begins now, plans again"

    def choose(self, waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        """See `Policy.choose`."""
        if not any(state.fits(task) for state in devices for task in waiting):
            return []
        # A long queue is planned again many times before the end of a plan matters.
        less = 1 if len(waiting) <= _LONG else _LESS_EFFORT
        search = _Search(devices, self._weights(waiting), self.most_bookings // less)
        densest = search.sorted(waiting, 1.0)
        packed = search.packed(densest[: _PACKED_FROM * self.front], -(-self.front // less))
        front = {task.name for task in (*packed, *densest[: self.front])}
        tasks = [task for task in densest if task.name in front]
        for exponent in _MEMORY_EXPONENTS:
            search.consider(search.sorted(tasks, exponent))
        first = {task.name for task in packed}
        search.consider(sorted([*packed, *(t for t in tasks if t.name not in first)], key=lambda t: -t.priority))
        search.improve()
        return [
            Placement(task, device)
            for task, (start_s, device) in zip(search.order, search.starts, strict=True)
            if start_s == 0.0
        ]

    def _weights(self, waiting: Sequence[Task]) -> dict[str, float]:
        if not self.by_gain:
            return {task.name: 1.0 for task in waiting}
        usual = usual_gain(waiting)
        return {task.name: gain_of(task, usual) for task in waiting}


class _Search:
    """The best order so far, and what is left of the effort."""

    def __init__(self, devices: Sequence[DeviceState], weights: dict[str, float], most_bookings: int) -> None:
        self._devices = tuple(devices)
        self._booked = [[Availability(state) for state in devices]]
        self._costs = [0.0]
        self._most_bytes = max(state.device.memory_bytes for state in devices)
        self._unit_bytes = max(self._most_bytes // _UNITS, 1)
        self._weights = weights
        self._left = most_bookings
        self._cost = float("inf")
        self.order: list[Task] = []
        self.starts: list[tuple[float, int]] = []

    def sorted(self, tasks: Sequence[Task], exponent: float) -> list[Task]:
        """By priority, then by what the task occupies per unit of weight."""

        def key(task: Task) -> tuple[int, float]:
            share = task.memory_bytes / self._most_bytes + 0.01  # cores are scarce too, so no task is free
            return -task.priority, task.duration_s * share**exponent / self._weights[task.name]

        return sorted(tasks, key=key)

    def packed(self, tasks: Sequence[Task], most: int) -> list[Task]:
        """The first tasks that Algorithm 3 would start, in the order of their starts, if all went as predicted."""
        states, waiting, order = list(self._devices), list(tasks), list[Task]()
        while waiting and len(order) < most:
            for placement in pack(waiting, states, self._rate, self._unit_bytes):
                states[placement.device] = states[placement.device].with_task(placement.task)
                waiting.remove(placement.task)
                order.append(placement.task)
            left = [running.remaining_s for state in states for running in state.running]
            if not left:
                break
            states = [state.after(min(left)) for state in states]
        return order

    def _rate(self, task: Task) -> float:
        return self._weights[task.name] / task.duration_s

    def consider(self, order: list[Task], same: int = 0) -> bool:
        """Take an order over if it is better.

        Args:
            order: of the tasks.
            same: how many at its beginning are as in the best order, and so need not be booked again.
        """
        starts, cost = self.starts[:same], self._costs[same]
        booked = [p.copy() for p in self._booked[same]]
        for task in order[same:]:
            self._left -= 1
            start = book(task, booked)
            cost += self._weights[task.name] * start[0]
            if cost >= self._cost * (1.0 - 1e-12):
                return False
            starts.append(start)
        self._cost, self.order, self.starts = cost, order, starts
        self._remember(same)
        return True

    def _remember(self, same: int) -> None:
        """What is booked, and at what cost, after each task of the best order, of which so many are as before."""
        del self._booked[same + 1 :], self._costs[same + 1 :]
        for task in self.order[same:]:
            booked = [p.copy() for p in self._booked[-1]]
            start_s, _ = book(task, booked)
            self._booked.append(booked)
            self._costs.append(self._costs[-1] + self._weights[task.name] * start_s)

    def improve(self) -> None:
        """Move single tasks to other places among those of their priority, as long as that helps."""
        better = True
        while better and self._left > 0:
            better = False
            for source in range(len(self.order)):
                for target in range(len(self.order)):
                    if self._left <= 0:
                        return
                    if source == target or self.order[source].priority != self.order[target].priority:
                        continue
                    order = self.order.copy()
                    order.insert(target, order.pop(source))
                    better |= self.consider(order, min(source, target))
