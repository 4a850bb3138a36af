"""The paper's two baselines: random tasks in parallel (B1), and one after another (B2)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from nestevo_hw.scheduler.devices import DeviceState, Placement, start_in_order
from nestevo_hw.scheduler.task import Task


@lru_cache(maxsize=4096)
def _lot(seed: int, name: str) -> float:
    """Drawn again at every choice, and dear to draw."""
    return random.Random(f"{seed}/{name}").random()


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomParallelPolicy:
    """Baseline B1: tasks in random order, each started if it still fits.

    A task's place in the order depends on the seed and its name only, so that executor and simulator draw alike.
    """

    seed: int = 0
    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "baseline B1: random order, each task that still fits"

    def choose(self, waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        """See `Policy.choose`."""
        order = sorted(waiting, key=lambda t: (-t.priority, _lot(self.seed, t.name)))
        return start_in_order(order, devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPolicy:
    """Baseline B2: one task at a time, in order of arrival."""

    name: ClassVar[str] = "serial"
    summary: ClassVar[str] = "baseline B2: one after another"

    def choose(self, waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        """See `Policy.choose`."""
        if any(state.running for state in devices):
            return []
        return start_in_order(sorted(waiting, key=lambda t: -t.priority), devices)[:1]
