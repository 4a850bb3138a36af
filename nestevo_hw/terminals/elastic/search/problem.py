"""What is searched for: a path of a supernet that fits a budget of latency."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import POSITIVE
from nestevo_hw.models.elastic.space import BranchPath, PathSpace
from nestevo_hw.terminals.elastic.latency import LatencyModel
from nestevo_hw.terminals.elastic.window import LatencyWindow


@dataclass(frozen=True)
class Problem:
    """A space of paths, their times, and the budget.

    Raises:
        ConfigError: the budget is no time, or no path fits it.
        InputError: a branch has no time.
    """

    space: PathSpace
    latency: LatencyModel
    budget_s: float
    below: float = 0.1
    above: float = 0.1
    """Of the window that candidates are drawn from, as shares of the budget: [T - d, T + d] with d = 0.1 T."""

    def __post_init__(self) -> None:
        POSITIVE.require(self.budget_s, "latency budget, s")
        self.latency.require(self.space, "latency table")
        fastest = self.latency.time(self.fastest)
        if fastest > self.budget_s:
            least, asked = f"{1e3 * fastest:.4g} ms", f"{1e3 * self.budget_s:.4g} ms"
            raise ConfigError(f"no path takes as little as {asked}; the fastest one takes {least}")

    @property
    def fastest(self) -> BranchPath:
        """The path that takes least time."""
        return self._fastest_from[0][1]

    def all_fitting(self, prefix: BranchPath = ()) -> Iterator[BranchPath]:
        """Every path that keeps to the budget and begins so, in order, without a look at those that cannot."""
        block = prefix[-1].end if prefix else 0
        if block == self.space.blocks and self.fits(prefix):
            yield prefix
        for branch in self.space.starting[block] if block < self.space.blocks else ():
            longer = (*prefix, branch)
            if self.fits((*longer, *self._fastest_from[branch.end][1])):
                yield from self.all_fitting(longer)

    @cached_property
    def _fastest_from(self) -> list[tuple[float, BranchPath]]:
        """Least time from before each block to the end, and the branches that take it."""
        best: list[tuple[float, BranchPath]] = [(0.0, ())]
        for block in reversed(range(self.space.blocks)):
            ways = ((self.latency.of(b), b, best[b.end - block - 1]) for b in self.space.starting[block])
            best.insert(0, min((own + rest, (branch, *path)) for own, branch, (rest, path) in ways))
        return best

    @cached_property
    def window(self) -> LatencyWindow:
        """The window around the budget."""
        return LatencyWindow.around(self.space, self.latency, self.budget_s, below=self.below, above=self.above)

    @cached_property
    def fitting(self) -> LatencyWindow:
        """All that keeps to the budget."""
        return LatencyWindow(self.space, self.latency, 0.0, self.budget_s)

    def near(self, path: BranchPath) -> bool:
        """Whether a path lies in the window."""
        return self.window.holds(path)

    def fits(self, path: BranchPath) -> bool:
        """Whether a path keeps to the budget."""
        return self.latency.time(path) <= self.budget_s

    def score(self, path: BranchPath, accuracy: float) -> float:
        """What AdaptiveNet ranks by: accuracy (0 to 1) of a path that fits, and below all of these one that does not.

        Its search on the device takes `accuracy - time / budget` for the latter.
        """
        time = self.latency.time(path)
        return accuracy if time <= self.budget_s else accuracy - time / self.budget_s


Steps = Generator[list[BranchPath], list[float], None]
"""Paths to be evaluated out, their accuracies in, until the strategy knows no more or is stopped."""
Strategy = Callable[[Problem, Random], Steps]
"""Asks for the accuracies of paths, several at a time so that they can share work; the same seed asks the same."""
