"""Algorithm 3 of the paper: the set of waiting tasks of the highest total value that fits into the free memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, ClassVar

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.scheduler.devices import DeviceState, Placement, best_fit
from nestevo_hw.scheduler.task import Task

if TYPE_CHECKING:  # numpy is imported by those who compute: the names of the policies stay light
    import numpy as np

MIB = 2**20
Value = Callable[[Task], float]
"""What starting a task now is worth, > 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnapsackPolicy:
    """Algorithm 3: a task is worth `time_value / duration_s`, so short tasks go first.

    The set is exact for the memory of one device, which is all that Algorithm 3 knows of; where more tasks fit
    than cores are free, the most valuable of them start. Several devices are filled one after another, the least free
    one first, so that the large ones are left to the tasks that fit nowhere else; tasks of a higher priority are chosen
    before the others.
    """

    unit_bytes: int = MIB
    """Resolution of memory; tasks are rounded up to it, free memory down."""
    time_value: float = 1.0
    """The paper's numerator a; it scales all values alike and so never changes the choice."""
    name: ClassVar[str] = "knapsack"
    summary: ClassVar[str] = "Algorithm 3 of the paper: the set with the most 1 / duration that fits"

    def __post_init__(self) -> None:
        if self.unit_bytes < 1 or self.time_value <= 0.0:
            raise ConfigError(f"need unit_bytes >= 1 and time_value > 0, got {self.unit_bytes} and {self.time_value}")

    def choose(self, waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        """See `Policy.choose`."""
        return pack(waiting, devices, lambda task: self.time_value / task.duration_s, self.unit_bytes)


def pack(waiting: Sequence[Task], devices: Sequence[DeviceState], value: Value, unit_bytes: int) -> list[Placement]:
    """The most valuable set for each device, those of the highest priority first, the most valuable first.

    A chosen task that needs more cores than are free holds up the less valuable ones behind it on its device, or it
    might wait for ever.
    """
    states, placed = list(devices), []
    held: set[int] = set()
    for tasks in _by_priority(waiting):
        left = list(tasks)
        for index in sorted(range(len(states)), key=lambda i: states[i].free_bytes):
            if index in held or states[index].free_cores < 1:
                continue
            candidates = [t for t in left if states[index].device.could_hold(t)]
            free_bytes = max(states[index].free_bytes, 0)
            for task in sorted(_best_set(candidates, free_bytes, value, unit_bytes), key=value, reverse=True):
                if not states[index].fits(task):
                    held.add(index)
                    break
                states[index] = states[index].with_task(task)
                placed.append(Placement(task, index))
                left.remove(task)
    return placed if placed or held else _exact_fit(waiting, devices, value)


def _exact_fit(waiting: Sequence[Task], devices: Sequence[DeviceState], value: Value) -> list[Placement]:
    """The most valuable task that fits: rounding may have refused one that fits exactly."""
    for task in sorted(waiting, key=lambda t: (t.priority, value(t)), reverse=True):
        device = best_fit(task, devices)
        if device is not None:
            return [Placement(task, device)]
    return []


def _by_priority(waiting: Sequence[Task]) -> Iterator[list[Task]]:
    for _, tasks in groupby(sorted(waiting, key=lambda t: -t.priority), key=lambda t: t.priority):
        yield list(tasks)


def _best_set(tasks: Sequence[Task], free_bytes: int, value: Value, unit_bytes: int) -> list[Task]:
    import numpy as np

    weights = np.array([-(-task.memory_bytes // unit_bytes) for task in tasks], dtype=np.int64)
    values = np.array([value(task) for task in tasks])
    # More memory than all tasks together need changes nothing, so a large machine costs no more than its load.
    capacity = min(free_bytes // unit_bytes, int(weights.sum()))
    return [tasks[k] for k in solve_knapsack(weights, values, capacity)]


def solve_knapsack(weights: "np.ndarray", values: "np.ndarray", capacity: int) -> list[int]:
    """The most valuable set of items within the capacity, exactly: indices in increasing order.

    Dynamic programming over `best[c]`, the best value in c units, for the items that Dantzig's bound leaves open: of a
    thousand items that are a few dozen.

    Args:
        weights: (n,) whole units, >= 0.
        values: (n,) > 0.
        capacity: units, >= 0.
    """
    import numpy as np

    taken, open_ = _fix(weights, values, capacity)
    room = capacity - int(weights[taken].sum())
    best = np.zeros(room + 1)
    choice = np.zeros((len(open_), room + 1), dtype=bool)
    for row, k in enumerate(open_):
        weight = int(weights[k])
        if weight <= room:
            with_item = best[: room + 1 - weight] + values[k]
            choice[row, weight:] = with_item > best[weight:]
            best[weight:] = np.maximum(best[weight:], with_item)
    chosen = set(taken.tolist())
    for row in reversed(range(len(open_))):
        if choice[row, room]:
            chosen.add(int(open_[row]))
            room -= int(weights[open_[row]])
    return sorted(chosen)


def _fix(weights: "np.ndarray", values: "np.ndarray", capacity: int) -> "tuple[np.ndarray, np.ndarray]":
    """Items that every best set holds, and those that may or may not be in one (Dantzig's upper bound).

    Items are taken by value per unit until one does not fit. Forcing an item before it out, or one after it in, costs
    at least its distance from that item's value per unit; where this falls below what the greedy set reaches, the
    item's fate is known.
    """
    import numpy as np

    candidates = np.flatnonzero(weights <= capacity)
    w, v = weights[candidates].astype(float), values[candidates]
    order = np.argsort(-v / np.maximum(w, 1e-9), kind="stable")
    candidates, w, v = candidates[order], w[order], v[order]
    filled = np.cumsum(w)
    split = int(np.searchsorted(filled, capacity, side="right"))
    if split == len(candidates):
        return candidates, candidates[:0]
    used = filled[split - 1] if split else 0.0
    rate = v[split] / w[split]
    reached, bound = float(v[:split].sum()), float(v[:split].sum()) + (capacity - used) * rate
    for k in range(split, len(candidates)):  # what else fits only raises what is reached
        if used + w[k] <= capacity:
            used, reached = used + w[k], reached + float(v[k])
    loss = np.abs(v - w * rate)
    fixed = bound - loss < reached * (1.0 - 1e-9)
    before = np.arange(len(candidates)) < split
    return candidates[fixed & before], candidates[~fixed]
