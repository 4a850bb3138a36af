"""Small changes of paths, and two paths joined: what strategies make new paths from old ones with."""

from itertools import pairwise
from random import Random

from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.terminals.elastic.search.problem import Problem

_TRIES = 50


def through(path: BranchPath, branch: Branch) -> BranchPath:
    """A path changed to go through a branch: what overlaps it goes, and originals fill the gaps that this leaves."""
    before = [b for b in path if b.end <= branch.start]
    after = [b for b in path if b.start >= branch.end]
    left, right = before[-1].end if before else 0, after[0].start if after else path[-1].end
    gap_before, gap_after = range(left, branch.start), range(branch.end, right)
    return (*before, *map(Branch, gap_before), branch, *map(Branch, gap_after), *after)


def random_edit(problem: Problem, path: BranchPath, generator: Random) -> BranchPath:
    """A path changed to go through one more branch, any of them as likely; itself where there is no other."""
    others = [branch for branch in problem.space.branches if branch not in path]
    return through(path, generator.choice(others)) if others else path


def nearby_mutate(problem: Problem, path: BranchPath, generator: Random, seen: set[BranchPath]) -> BranchPath | None:
    """NearbyMutate: a random edit, then the edit elsewhere that best takes back what it changed in latency.

    Returns:
        A path of the window that was not seen; None if none is found soon.
    """
    time = problem.latency.time(path)
    for _ in range(_TRIES):
        if (edited := random_edit(problem, path, generator)) == path:
            return None
        new = {branch for branch in edited if branch not in path}
        first, end = min(b.start for b in new), max(b.end for b in new)
        free = (b for b in problem.space.branches if b not in edited and (b.end <= first or b.start >= end))
        compensated = (edited, *(through(edited, branch) for branch in free))
        nearest = min(compensated, key=lambda one: abs(problem.latency.time(one) - time))
        if nearest not in seen and problem.near(nearest):
            return nearest
    return None


def plain_mutate(problem: Problem, path: BranchPath, generator: Random, seen: set[BranchPath]) -> BranchPath | None:
    """A random edit that keeps to the budget, without compensation: what an ordinary evolutionary search does.

    Returns:
        A path that was not seen; None if none is found soon.
    """
    for _ in range(_TRIES):
        edited = random_edit(problem, path, generator)
        if edited not in seen and problem.fits(edited):
            return edited
    return None


def crossed(one: BranchPath, other: BranchPath, generator: Random) -> BranchPath:
    """Parts of two paths: between any two blocks where both begin a branch, either may go on."""
    cuts = [*sorted({b.start for b in one} & {b.start for b in other}), one[-1].end]
    parents = (one, other)
    joined = list[Branch]()
    for start, end in pairwise(cuts):
        joined += [branch for branch in generator.choice(parents) if start <= branch.start < end]
    return tuple(joined)
