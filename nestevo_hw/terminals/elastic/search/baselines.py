"""What a search is compared with: random draws, all paths, annealing, and the uniformly pruned model."""

import math
from dataclasses import dataclass
from itertools import batched
from random import Random

from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.terminals.elastic.search.edits import random_edit
from nestevo_hw.terminals.elastic.search.evolution import nearby_init
from nestevo_hw.terminals.elastic.search.problem import Problem, Steps

_BATCH = 50


def random_paths(problem: Problem, generator: Random) -> Steps:
    """Draws from the window, by populations, until nothing new comes."""
    seen = set[BranchPath]()
    while True:
        drawn = (nearby_init(problem, generator) for _ in range(_BATCH))
        new = [path for path in dict.fromkeys(drawn) if path is not None and path not in seen]
        if not new:
            return
        seen |= set(new)
        yield new


def exhaustive(problem: Problem, _generator: Random) -> Steps:
    """Every path that fits the budget, in the order in which they share most."""
    for some in batched(problem.all_fitting(), _BATCH):
        yield list(some)


def uniform_pruning(problem: Problem, _generator: Random) -> Steps:
    """The base model, and it with all blocks pruned at one rate: what a fixed rate for the whole model can reach."""
    rates = sorted({branch.shrink for branch in problem.space.branches})
    uniform = (tuple(b for b in problem.space.branches if b.span == 1 and b.shrink == rate) for rate in rates)
    found = [path for path in uniform if problem.space.holds(path) and problem.fits(path)]
    if found:
        yield found


@dataclass(frozen=True, slots=True)
class Annealing:
    """Simulated annealing: single edits, accepted if better, or by chance that shrinks with the temperature.

    Its temperature falls by a constant factor an evaluation; what does not fit scores below all that does, as in the
    other searches. When its chain has cooled down it starts again from the best path.
    """

    hot: float = 0.01
    """First temperature, in accuracy."""
    cold: float = 0.001
    """Last one."""
    steps: int = 120
    """Evaluations from the one to the other."""

    def __call__(self, problem: Problem, generator: Random) -> Steps:
        """Ask for one path after another."""
        current = nearby_init(problem, generator) or problem.fastest
        (accuracy,) = yield [current]
        score = problem.score(current, accuracy)
        best = (score, current)
        while True:
            for step in range(self.steps):
                temperature = self.hot * (self.cold / self.hot) ** (step / self.steps)
                candidate = random_edit(problem, current, generator)
                (accuracy,) = yield [candidate]
                new = problem.score(candidate, accuracy)
                if new >= score or generator.random() < math.exp((new - score) / temperature):
                    current, score = candidate, new
                best = max(best, (new, candidate))
            score, current = best
