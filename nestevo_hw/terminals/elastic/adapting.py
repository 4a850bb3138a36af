"""A terminal that keeps its latency budget: frames on the path in force, which changes with the device's speed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from nestevo_hw.base.ranges import POSITIVE, Range
from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.terminals.elastic.edge import Accuracies, EdgeFrames
from nestevo_hw.terminals.elastic.keeper import Keeper
from nestevo_hw.terminals.elastic.network import Network
from nestevo_hw.terminals.elastic.pool import Pool, after_drift

_BURNER = "import os, sys\nos.nice(int(sys.argv[1]))\nwhile os.getppid() != 1:\n    sum(range(100_000))\n"
_BURNER_NICE = 3
"""Beside one that is not nice it takes about a third of their processor, so that one takes 1.5 times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptConfig:
    """A run of a terminal."""

    budget_s: Annotated[float, POSITIVE]
    """Of a frame."""
    frames: Annotated[int, Range(1, 1_000_000)] = 300
    burden: tuple[int, int] | None = None
    """From which frame to which a process takes a share of this one's processor; None: none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change of paths."""

    frame: int
    """Before which it was made."""
    path: BranchPath
    rho: float
    """How many times slower than its table the device is taken to be."""
    fits: bool
    """False: no path of the pool fits, so a new search is due."""
    loaded: int
    """Blocks that had to be read."""
    seconds: float
    """Until the new path could run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What a run came to."""

    budget_s: float
    seconds: tuple[float, ...]
    """Of each frame, measured."""
    changes: tuple[Changed, ...]
    burden: tuple[int, int] | None

    @property
    def late(self) -> int:
        """Frames that took longer than the budget."""
        return sum(taken > self.budget_s for taken in self.seconds)


def run_frames(network: Network, edge: EdgeFrames, pool: Pool, config: AdaptConfig) -> Adapted:
    """Run frames, and change the path whenever the keeper says so.

    Args:
        network: of the paths.
        edge: frames, which come again and again; their labels are not looked at.
        pool: to choose from.
        config: see there.
    """
    keeper = Keeper(pool, config.budget_s)
    seconds, changes = list[float](), list[Changed]()
    network.sessions.change_to(keeper.running.path)
    with _burdens(config.burden) as burden:
        for number in range(config.frames):
            burden(number)
            image = edge.floats(number % len(edge.images))
            begin = time.perf_counter()
            network.look(keeper.running.path, image)
            seconds.append(time.perf_counter() - begin)
            if (change := keeper.frame(seconds[-1])) is not None:
                done = network.sessions.change_to(change.to.path)
                changes.append(
                    Changed(frame=number + 1, path=change.to.path, rho=change.rho, fits=change.fits,
                            loaded=len(done.loaded), seconds=done.seconds)
                )  # fmt: skip
    return Adapted(
        budget_s=config.budget_s, seconds=tuple(seconds), changes=tuple(changes), burden=config.burden
    )  # fmt: skip


def adapt_pool(network: Network, fresh: EdgeFrames, pool: Pool, budget_s: float) -> Pool:
    """The best of a pool with their accuracies on labelled frames of new conditions; nothing is trained."""
    return after_drift(pool, Accuracies(network, fresh), budget_s, 1.0)


@contextmanager
def _burdens(frames: tuple[int, int] | None) -> Iterator[Callable[[int], None]]:
    """A function of the frame's number that has a process burden this one's processor from one frame to another."""
    running: list[subprocess.Popen[bytes]] = []
    processors = os.sched_getaffinity(0)

    def end() -> None:
        for process in running:
            process.kill()
            process.wait()
        running.clear()

    def at_frame(number: int) -> None:
        if frames is not None and number == frames[0]:
            running.append(subprocess.Popen([sys.executable, "-c", _BURNER, str(_BURNER_NICE)]))
        if frames is not None and number == frames[1]:
            end()

    try:
        if frames is not None:
            os.sched_setaffinity(0, {min(processors)})  # which the process inherits
        yield at_frame
    finally:
        end()
        os.sched_setaffinity(0, processors)
