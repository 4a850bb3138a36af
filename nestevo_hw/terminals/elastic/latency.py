"""How long a path takes on this device: a table of its branches' times, and a line fitted on whole models."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Annotated

import numpy as np

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.ranges import NOT_NEGATIVE, POSITIVE
from nestevo_hw.models.elastic.space import Branch, BranchPath, PathSpace

FITTED_ON = 10
"""Whole models on which offset and scale are fitted."""
_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class BranchTime:
    """Time of one branch on the input that it has in the network."""

    branch: Branch
    seconds: Annotated[float, POSITIVE]
    """Median of its runs."""


@dataclass(frozen=True, slots=True)
class PathTime:
    """Time of a whole model."""

    path: BranchPath
    seconds: Annotated[float, POSITIVE]
    """Median of its runs."""


@dataclass(frozen=True)
class LatencyModel:
    """Predicted time of a path: `offset_s + scale * sum of its branches' times`.

    Raises:
        ValueError: a branch is there twice, or the scale is not above 0.
    """

    table: tuple[BranchTime, ...]
    offset_s: Annotated[float, NOT_NEGATIVE] = 0.0
    """What every path takes beside its blocks: stem, head, the runtime."""
    scale: Annotated[float, POSITIVE] = 1.0
    """Time of a block in a whole model over its time alone; times rho, once the device has become slower by that."""

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"scale must be above 0, got {self.scale:g}")
        if len(self._alone) < len(self.table):
            raise ValueError("a branch has two times")

    @cached_property
    def _alone(self) -> dict[Branch, float]:
        return {entry.branch: entry.seconds for entry in self.table}

    def of(self, branch: Branch) -> float:
        """Seconds that a branch adds to a path."""
        return self.scale * self._alone[branch]

    def time(self, path: BranchPath) -> float:
        """Seconds of a path for one frame."""
        return self.offset_s + self.scale * sum(self._alone[branch] for branch in path)

    def rescaled(self, rho: float) -> "LatencyModel":
        """The same on a device that has become slower by a factor; faster, below 1."""
        return LatencyModel(self.table, self.offset_s * rho, self.scale * rho)

    def require(self, space: PathSpace, source: str) -> None:
        """Refuse a table that lacks a branch.

        Raises:
            InputError: with `source`, whose table it is.
        """
        if missing := sorted(space.known - self._alone.keys()):
            raise InputError(f"{source}: no time of branch {missing[0].name}; measure the latency table again")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyErrors:
    """Relative errors of predicted times, as shares of what was measured."""

    paths: int
    p50: float
    p95: float
    worst: float


def measure[K](
    runs: Mapping[K, Callable[[], object]],
    *,
    rounds: int = 30,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[K, float]:
    """Median time of each run, in seconds; see `turns`."""
    taken = turns(runs, rounds=rounds, warm_up=warm_up, clock=clock)
    return {name: median(some) for name, some in taken.items()}


def turns[K](
    runs: Mapping[K, Callable[[], object]],
    *,
    rounds: int = 30,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[K, list[float]]:
    """Times of each run, in seconds, round by round.

    All take turns, so that a device which becomes slower meanwhile does not make some of them look slow.

    Args:
        runs: what to run: a session of one block on an input of its real shape, or a whole model.
        rounds: runs of each.
        warm_up: rounds before these that do not count.
        clock: of seconds.
    """
    times: dict[K, list[float]] = {name: [] for name in runs}
    for turn in range(warm_up + rounds):
        for name, run in runs.items():
            begin = clock()
            run()
            if turn >= warm_up:
                times[name].append(clock() - begin)
    return times


def spread(space: PathSpace, table: Mapping[Branch, float], count: int, generator: random.Random) -> list[BranchPath]:
    """Different paths whose sums are as far apart as may be, the base model first: what to fit and to check on.

    Args:
        space: of the paths.
        table: seconds of each branch alone.
        count: of the paths; fewer where the space has not so many.
        generator: of the draws they are chosen from.
    """
    drawn = {space.base, *(space.sample(generator) for _ in range(_DRAWS))}
    sums = {path: sum(table[branch] for branch in path) for path in sorted(drawn)}
    chosen = {space.base: sums.pop(space.base)}
    if sums:
        for target in np.linspace(min(sums.values()), max(sums.values()), count - 1)[: len(sums)]:
            nearest = min(sums, key=lambda path: abs(sums[path] - target))
            chosen[nearest] = sums.pop(nearest)
    return list(chosen)


def fit(table: Mapping[Branch, float], whole: Sequence[PathTime]) -> LatencyModel:
    """Offset and scale by least squares of the relative errors; no offset where it would be negative.

    Args:
        table: seconds of each branch alone.
        whole: measured whole models, `FITTED_ON` by preference.

    Raises:
        InputError: fewer than two different sums among them, or times that do not grow with the sums.
    """
    sums = np.array([sum(table[branch] for branch in one.path) for one in whole])
    seconds = np.array([one.seconds for one in whole])
    if len(np.unique(sums)) < 2:
        raise InputError(f"cannot fit latency on {len(whole)} models of one size; measure ones of different sizes")
    entries = tuple(BranchTime(branch, table[branch]) for branch in sorted(table))
    columns = np.stack([np.ones_like(sums), sums], 1) / seconds[:, None]
    (offset, scale), *_ = np.linalg.lstsq(columns, np.ones_like(sums))
    if offset < 0:
        ratios = sums / seconds
        offset, scale = 0.0, float(ratios.sum() / (ratios**2).sum())
    if scale <= 0:
        raise InputError("whole models take no longer the longer their blocks do; measure again on a quieter device")
    return LatencyModel(entries, float(offset), float(scale))


def errors(model: LatencyModel, whole: Sequence[PathTime]) -> LatencyErrors:
    """How far predictions are off, on paths that were not fitted on.

    Raises:
        ValueError: no paths.
    """
    if not whole:
        raise ValueError("need measured paths to compare with")
    off = np.array([abs(model.time(one.path) / one.seconds - 1) for one in whole])
    p50, p95 = np.quantile(off, [0.5, 0.95])
    return LatencyErrors(paths=len(whole), p50=float(p50), p95=float(p95), worst=float(off.max()))
