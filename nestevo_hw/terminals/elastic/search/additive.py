"""Search by a sum: what each branch loses alone, and the paths in order of what they would lose if losses added up."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from random import Random

import numpy as np

from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.terminals.elastic.search.edits import through
from nestevo_hw.terminals.elastic.search.problem import Problem, Steps

_BUCKETS_A_BLOCK = 200
"""Of the budget, for the bound on what the rest of a path must lose; paths are compared by their exact times."""


def by_predicted_loss(problem: Problem, losses: Mapping[Branch, float]) -> Iterator[BranchPath]:
    """All paths that fit, from the least sum of losses up: the k best under a budget, for any k, and no others listed.

    Best-first search (A*): a prefix is worth its own loss and the least that the blocks after it can lose in the time
    left. That bound comes from dynamic programming over (block, time left) with times rounded down, so it never says
    too much, and the order is exact.

    Args:
        problem: space, times and budget.
        losses: accuracy lost by each branch; negative: gained.
    """
    budget = problem.budget_s - problem.latency.offset_s
    bound = _Bound(problem, losses, budget)
    order = count()  # equal losses come in the order in which they were met
    waiting = [(bound(0, budget), next(order), 0.0, budget, tuple[Branch, ...]())]
    while waiting:
        _, _, lost, left, prefix = heapq.heappop(waiting)
        block = prefix[-1].end if prefix else 0
        if block == problem.space.blocks:
            if problem.fits(prefix):
                yield prefix
            continue
        for branch in problem.space.starting[block]:
            time, loss = left - problem.latency.of(branch), lost + losses[branch]
            if (rest := bound(branch.end, time)) < np.inf:
                heapq.heappush(waiting, (loss + rest, next(order), loss, time, (*prefix, branch)))


class _Bound:
    """Least loss from a block to the end within some time; infinite where the time is too short for any way."""

    def __init__(self, problem: Problem, losses: Mapping[Branch, float], budget: float) -> None:
        most = self._most = _BUCKETS_A_BLOCK * problem.space.blocks
        self._bucket = budget / most
        least = np.full((problem.space.blocks + 1, most + 1), np.inf)
        least[-1] = 0.0
        for block in reversed(range(problem.space.blocks)):
            for branch in problem.space.starting[block]:
                own = min(int(problem.latency.of(branch) / self._bucket), most + 1)
                after = least[branch.end, : most + 1 - own] + losses[branch]
                least[block, own:] = np.minimum(least[block, own:], after)
        self._least = least

    def __call__(self, block: int, left: float) -> float:
        # A rounding of the sums must not lose a path that just fits.
        bucket = int(left / self._bucket + 1e-6)
        return float(self._least[block, min(bucket, self._most)]) if bucket >= 0 and left > -1e-12 else np.inf


@dataclass(frozen=True, slots=True)
class Additive:
    """Measure the base model, the fastest path and each other branch in the base, then the best by the sum of losses.

    Args:
        first: paths to measure by the sum alone.
        refined: more of them in each further round, after the losses were fitted again to all that was measured; 0:
            no further rounds.
        trust: how many paths a loss measured alone counts for in that fit.
    """

    first: int = 40
    refined: int = 0
    trust: float = 1.0

    def __call__(self, problem: Problem, _generator: Random) -> Steps:
        """Ask for the single swaps, and then for the best by their sum."""
        base = problem.space.base
        others = [branch for branch in problem.space.branches if not branch.original]
        # The fastest path fits, so there is an answer even if the evaluations end within these.
        whole, least, *alone = yield [base, problem.fastest, *(through(base, branch) for branch in others)]
        lost = [whole - accuracy for accuracy in alone]
        losses = dict.fromkeys(base, 0.0) | dict(zip(others, lost, strict=True))
        measured = {problem.fastest: whole - least}
        fitted, wanted = losses, self.first
        while new := self._next(problem, fitted, measured, wanted):
            accuracies = yield new
            measured |= dict(zip(new, (whole - one for one in accuracies), strict=True))
            fitted, wanted = _fitted(losses, measured, self.trust), self.refined

    @staticmethod
    def _next(
        problem: Problem, losses: Mapping[Branch, float], measured: Mapping[BranchPath, float], wanted: int
    ) -> list[BranchPath]:
        return list(islice((p for p in by_predicted_loss(problem, losses) if p not in measured), wanted))


def _fitted(alone: Mapping[Branch, float], measured: Mapping[BranchPath, float], trust: float) -> dict[Branch, float]:
    """Losses that explain measured paths, by least squares, drawn towards those measured alone (ridge regression)."""
    branches = list(alone)
    column = {branch: number for number, branch in enumerate(branches)}
    present = np.zeros((len(measured), len(branches)))
    for row, path in enumerate(measured):
        present[row, [column[branch] for branch in path]] = 1.0
    prior = np.array([alone[branch] for branch in branches])
    missed = np.array(list(measured.values())) - present @ prior
    correction = np.linalg.solve(present.T @ present + trust * np.eye(len(branches)), present.T @ missed)
    return dict(zip(branches, (prior + correction).tolist(), strict=True))


ADDITIVE = Additive()
"""The sum of single losses, and the best 40 by it."""
REFINED = Additive(first=10, refined=10)
"""The same in rounds of ten, with the losses fitted again after each."""
