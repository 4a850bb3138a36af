"""What a search leaves on the terminal: paths with their predicted times and accuracies, to choose from later."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.ranges import POSITIVE, SHARE
from nestevo_hw.models.elastic.space import BranchPath, PathSpace, path_name
from nestevo_hw.terminals.elastic.latency import LatencyModel
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated, Measure


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path that a terminal could run."""

    path: BranchPath
    seconds: Annotated[float, POSITIVE]
    """Predicted time on the device as it was when its table was measured."""
    accuracy: Annotated[float, SHARE]


@dataclass(frozen=True, slots=True)
class Pool:
    """All that was evaluated.

    Raises:
        ValueError: none, or one path twice.
    """

    candidates: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        if not self.candidates:
            raise ValueError("a pool needs a path")
        if len({one.path for one in self.candidates}) < len(self.candidates):
            raise ValueError("a path is there twice")

    @classmethod
    def of(cls, evaluated: Iterable[Evaluated], latency: LatencyModel) -> "Pool":
        """A pool of evaluated paths."""
        return cls(tuple(Candidate(one.path, latency.time(one.path), one.accuracy) for one in evaluated))

    def require(self, space: PathSpace, source: str) -> None:
        """Refuse a pool of another supernet.

        Raises:
            InputError: with `source`, whose pool it is.
        """
        if strange := [one.path for one in self.candidates if not space.holds(one.path)]:
            raise InputError(f"{source}: {path_name(strange[0])} is no path of this supernet; search through it first")

    @property
    def fastest(self) -> Candidate:
        """The one that takes least time."""
        return min(self.candidates, key=_seconds)

    def best(self, budget_s: float, rho: float = 1.0) -> Candidate | None:
        """The most accurate one that fits a budget on a device that has become slower by `rho`; None if none does."""
        fitting = [one for one in self.candidates if one.seconds * rho <= budget_s]
        return max(fitting, key=lambda one: one.accuracy, default=None)

    def within(self, budget_s: float) -> "Pool":
        """Those that fit a budget; of equally accurate ones the slower first, which has more to learn with.

        Raises:
            ValueError: none does.
        """
        fitting = [one for one in self.candidates if one.seconds <= budget_s]
        return Pool(tuple(sorted(fitting, key=lambda one: (one.accuracy, one.seconds), reverse=True)))

    def best_of_levels(self, width_s: float) -> tuple[Candidate, ...]:
        """The most accurate one of each level of latency that any is in; levels are so many seconds wide."""
        levels = groupby(sorted(self.candidates, key=_seconds), key=lambda one: int(one.seconds / width_s))
        return tuple(max(level, key=lambda one: one.accuracy) for _, level in levels)

    def measured_again(self, paths: Sequence[BranchPath], measure: Measure) -> "Pool":
        """Some of its paths with their accuracies on other frames; of the others nothing is known there.

        Raises:
            ValueError: a path that is not in the pool.
        """
        known = {one.path: one for one in self.candidates}
        if strange := [path for path in paths if path not in known]:
            raise ValueError(f"{len(strange)} paths are not in the pool")
        accuracies = measure(paths)
        return Pool(tuple(replace(known[p], accuracy=a) for p, a in zip(paths, accuracies, strict=True)))


def _seconds(one: Candidate) -> float:
    return one.seconds


def after_drift(
    pool: Pool,
    measure: Measure,
    budget_s: float,
    rho: float = 1.0,
    *,
    best: int = 10,
) -> Pool:
    """The best of a pool, scored again after drift, before anything is trained.

    Args:
        pool: as of before.
        measure: accuracies on fresh frames that the teacher has labelled.
        budget_s: of latency.
        rho: how many times slower the device has become since its table was measured.
        best: how many of those that fit to look at again. The best of each level of a tenth of the budget are as well,
            so that there is a choice when the device's speed changes.
    """
    return pool.measured_again(worth_another_look(pool, budget_s, rho, best=best), measure)


def worth_another_look(pool: Pool, budget_s: float, rho: float = 1.0, *, best: int = 10) -> list[BranchPath]:
    """Paths that `after_drift` scores again, the most accurate first."""
    fitting = [one for one in pool.candidates if one.seconds * rho <= budget_s]
    first = sorted(fitting, key=lambda one: one.accuracy, reverse=True)[:best]
    levels = pool.best_of_levels(budget_s / rho / 10)
    return list(dict.fromkeys(one.path for one in (*first, *levels)))
