"""Search by populations: NearbyInit and NearbyMutate, the same with the rule of AdaptiveNet's artifact, a plain one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.terminals.elastic.search.edits import crossed, nearby_mutate, plain_mutate, through
from nestevo_hw.terminals.elastic.search.problem import Problem, Steps

Draw = Callable[[Problem, Random], BranchPath | None]
Mutate = Callable[[Problem, BranchPath, Random, set[BranchPath]], BranchPath | None]
Accept = Callable[[Problem, BranchPath], bool]
_TRIES = 50


def nearby_init(problem: Problem, generator: Random) -> BranchPath | None:
    """NearbyInit: a path of the window around the budget, each as likely as any other."""
    return problem.window.draw(generator)


@dataclass(frozen=True, slots=True)
class Evolution:
    """The best of a population stay, the others are replaced by mutations of these and by pairs joined.

    The shares are those of AdaptiveNet: a quarter stays, half are mutations, a quarter is joined. Whatever is not new
    is replaced by a fresh draw.
    """

    draw: Draw = nearby_init
    mutate: Mutate = nearby_mutate
    accept: Accept = Problem.near
    """Which joined pairs are worth measuring."""
    population: int = 20
    parents: float = 0.25
    mutated: float = 0.5

    def __call__(self, problem: Problem, generator: Random) -> Steps:
        """Ask for populations until nothing new is found."""
        seen = set[BranchPath]()
        scores = dict[BranchPath, float]()
        new = list(self._fresh(problem, generator, seen, self.population))
        while new:
            accuracies = yield new
            scores |= {path: problem.score(path, accuracy) for path, accuracy in zip(new, accuracies, strict=True)}
            stay = max(2, round(self.parents * self.population))
            parents = sorted(scores, key=scores.__getitem__, reverse=True)[:stay]
            scores = {path: scores[path] for path in parents}
            new = self._children(problem, generator, parents, seen)

    def _children(
        self, problem: Problem, generator: Random, parents: list[BranchPath], seen: set[BranchPath]
    ) -> list[BranchPath]:
        wanted, mutations = self.population - len(parents), round(self.mutated * self.population)
        children = list[BranchPath]()
        for number in range(wanted):
            if number < mutations:
                child = self.mutate(problem, generator.choice(parents), generator, seen)
            else:
                child = self._joined(problem, generator, parents, seen)
            if child is not None:
                seen.add(child)
                children.append(child)
        return [*children, *self._fresh(problem, generator, seen, wanted - len(children))]

    def _joined(
        self, problem: Problem, generator: Random, parents: list[BranchPath], seen: set[BranchPath]
    ) -> BranchPath | None:
        for _ in range(_TRIES if len(parents) > 1 else 0):
            one, other = generator.sample(parents, 2)
            child = crossed(one, other, generator)
            if child not in seen and self.accept(problem, child):
                return child
        return None

    def _fresh(self, problem: Problem, generator: Random, seen: set[BranchPath], count: int) -> Iterator[BranchPath]:
        """Draws that were not seen, until so many are found or too many tries were for nothing."""
        failures = 0
        while count > 0 and failures < _TRIES * count:
            path = self.draw(problem, generator)
            if path is None:
                return
            if path in seen:
                failures += 1
                continue
            seen.add(path)
            count -= 1
            yield path


def within_budget(problem: Problem, generator: Random) -> BranchPath | None:
    """A path that keeps to the budget, each as likely as any other, fast ones too."""
    return problem.fitting.draw(generator)


_ARTIFACT_RATE = 0.1
_ARTIFACT_LEAST_S = 1e-5


def artifact_mutate(problem: Problem, path: BranchPath, generator: Random, seen: set[BranchPath]) -> BranchPath | None:
    """What AdaptiveNet's published search does in place of NearbyMutate.

    Each branch changes with probability 0.1. If a change made the path slower, the *last* two originals in a row are
    merged, whatever that takes (the search for the best pair forgets its best at each turn). If it made it faster,
    nothing is done: the merged blocks that it would take apart are looked for by the number 9, and marked with 99. The
    window is not looked at.
    """
    for _ in range(_TRIES):
        changed, block = path, 0
        while block < problem.space.blocks:
            here = next((branch for branch in changed if branch.start == block), None)
            if here is None or generator.random() >= _ARTIFACT_RATE:
                block += 1
                continue
            choice = generator.choice(problem.space.starting[block])
            before, changed = problem.latency.time(changed), through(changed, choice)
            if problem.latency.time(changed) - before > _ARTIFACT_LEAST_S:
                changed = _last_pair_merged(problem, changed)
            block = choice.end
        if changed not in seen:
            return changed
    return None


def _last_pair_merged(problem: Problem, path: BranchPath) -> BranchPath:
    originals = {branch.start for branch in path if branch.original}
    pairs = [Branch(start, 2) for start in originals if start + 1 in originals]
    possible = [pair for pair in pairs if pair in problem.space.known and pair.start > 0]
    return through(path, max(possible)) if possible else path


NEARBY = Evolution()
"""AdaptiveNet's search as its paper describes it."""
ARTIFACT = Evolution(mutate=artifact_mutate, population=50)
"""The same with the mutation of its artifact."""
PLAIN = Evolution(draw=within_budget, mutate=plain_mutate, accept=Problem.fits, population=50)
"""An evolutionary search that only keeps to the budget."""
