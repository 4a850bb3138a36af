"""One search: a strategy asks, accuracies are measured, and a budget of evaluations and seconds ends it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Annotated

from nestevo_hw.base.ranges import POSITIVE, Range
from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated, Evaluations
from nestevo_hw.terminals.elastic.search.problem import Problem, Strategy

EVALUATIONS = Range(1, 1_000_000)
_MOST_IDLE = 1000
"""Batches in a row without a new path after which a strategy is taken to go in circles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a search may use."""

    evaluations: Annotated[int, EVALUATIONS] = 200
    """Different paths, those that an earlier search left in the file included."""
    seconds: Annotated[float, POSITIVE] | None = None
    """Of measuring and of the strategy's own thinking; the batch in which they run out is the last. None: no limit."""

    def __post_init__(self) -> None:
        EVALUATIONS.require(self.evaluations, "evaluations")
        if self.seconds is not None:
            POSITIVE.require(self.seconds, "seconds")


@dataclass(frozen=True, slots=True)
class Best:
    """The best path that fits, as of some moment of a search."""

    evaluations: int
    seconds: float
    found: Evaluated


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search found."""

    evaluated: tuple[Evaluated, ...]
    """All paths in the order of their evaluation."""
    history: tuple[Best, ...]
    """The best one that fits after each evaluation that found a better one."""
    seconds: float

    @property
    def best(self) -> Evaluated | None:
        """The most accurate path that fits; None if none was met."""
        return self.history[-1].found if self.history else None


class _Progress:
    """What a search has asked and spent so far."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.evaluated: dict[BranchPath, Evaluated] = {}
        self.history: list[Best] = []
        self.seconds = 0.0

    def add(self, found: list[Evaluated]) -> None:
        for one in found:
            self.evaluated[one.path] = one
            self.seconds += one.seconds
            better = not self.history or one.accuracy > self.history[-1].found.accuracy
            if better and self._problem.fits(one.path):
                self.history.append(Best(len(self.evaluated), self.seconds, one))


def search(
    strategy: Strategy,
    problem: Problem,
    evaluations: Evaluations,
    limits: Limits,
    seed: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Outcome:
    """Search until the strategy knows no more, goes in circles, or the limits are met.

    A search of the same seed asks for the same paths, so one that was stopped finds what it had measured in the file of
    its `evaluations`, and comes to the same end. With a limit of seconds that end depends on the machine's speed.

    Args:
        strategy: of the search.
        problem: to solve.
        evaluations: known accuracies, and how to learn more.
        limits: to keep to.
        seed: of the strategy's draws.
        clock: of the seconds that the strategy thinks.
    """
    done, idle = _Progress(problem), 0
    for new in _batches(strategy, problem, seed, done, clock):
        idle = 0 if new else idle + 1
        room = limits.evaluations - len(done.evaluated)
        done.add(evaluations.of(new[:room]))
        late = limits.seconds is not None and done.seconds >= limits.seconds
        if late or len(new) > room or idle >= _MOST_IDLE:
            break
    return Outcome(evaluated=tuple(done.evaluated.values()), history=tuple(done.history), seconds=done.seconds)


def _batches(
    strategy: Strategy, problem: Problem, seed: int, done: _Progress, clock: Callable[[], float]
) -> Iterator[list[BranchPath]]:
    """Paths that the strategy asks for and that are not evaluated yet; they must be, before the next are asked for."""
    steps = strategy(problem, Random(seed))
    answer: list[float] | None = None
    while True:
        begin = clock()
        try:
            asked = next(steps) if answer is None else steps.send(answer)
        except StopIteration:
            return
        finally:
            done.seconds += clock() - begin
        yield [path for path in dict.fromkeys(asked) if path not in done.evaluated]
        answer = [done.evaluated[path].accuracy for path in asked]
