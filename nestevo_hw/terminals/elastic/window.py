"""Paths within a window of latency, drawn evenly without ever listing them: counted by position and time left."""

import random
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from nestevo_hw.models.elastic.space import Branch, BranchPath, PathSpace
from nestevo_hw.terminals.elastic.latency import LatencyModel

_BUCKETS_A_BLOCK = 16
"""Buckets of a window for each block: rounding moves a path by at most half a bucket a block, 1/32 of the window."""
_MOST_TRIES = 10_000


@dataclass(frozen=True)
class LatencyWindow:
    """All paths that take `least_s` to `most_s`, and NearbyInit: one of them, each as likely as any other.

    The number of ways to the end is counted for each block and each number of buckets still to be used (dynamic
    programming), with whole numbers of any size. Draws among the paths whose rounded times may lie in the window are
    even; those that really lie outside are drawn again, which leaves the others even.

    Raises:
        ValueError: a window without an inside.
    """

    space: PathSpace
    latency: LatencyModel
    least_s: float
    most_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.least_s <= self.most_s or not self.most_s:
            raise ValueError(f"no window of latency: {self.least_s:g} s to {self.most_s:g} s")

    @classmethod
    def around(
        cls, space: PathSpace, latency: LatencyModel, budget_s: float, *, below: float = 0.1, above: float = 0.1
    ) -> "LatencyWindow":
        """The window around a budget; `below` and `above` are shares of it."""
        return cls(space, latency, budget_s * (1 - below), budget_s * (1 + above))

    def holds(self, path: BranchPath) -> bool:
        """Whether a path takes so long."""
        return self.least_s <= self.latency.time(path) <= self.most_s

    def draw(self, generator: random.Random) -> BranchPath | None:
        """A path of the window.

        Returns:
            None where there is none, or fewer than one in some thousands of those that lie a rounding from its borders.
        """
        for _ in range(_MOST_TRIES if self.candidates else 0):
            path = self._candidate(generator.randrange(self.candidates))
            if self.holds(path):
                return path
        return None

    @property
    def candidates(self) -> int:
        """Paths whose rounded times may lie in the window: about as many as there are in it."""
        return self._lengths[-1] if self._lengths else 0

    @cached_property
    def _bucket_s(self) -> float:
        width = self.most_s - self.least_s
        return (width or self.most_s / 100) / (_BUCKETS_A_BLOCK * self.space.blocks)

    @cached_property
    def _buckets(self) -> dict[Branch, int]:
        return {branch: round(self.latency.of(branch) / self._bucket_s) for branch in self.space.branches}

    @cached_property
    def _ways(self) -> list[dict[int, int]]:
        """For each block: ways from before it to the end, by the buckets that they use."""
        most = self._range.stop
        ways: list[dict[int, int]] = [{} for _ in range(self.space.blocks)] + [{0: 1}]
        for block in reversed(range(self.space.blocks)):
            counts: dict[int, int] = defaultdict(int)
            for branch in self.space.starting[block]:
                own = self._buckets[branch]
                for buckets, number in ways[branch.end].items():
                    if buckets + own < most:
                        counts[buckets + own] += number
            ways[block] = dict(counts)
        return ways

    @cached_property
    def _range(self) -> range:
        """Numbers of buckets that a path of the window may be rounded to."""
        slack = self.space.blocks / 2 + 1
        low = (self.least_s - self.latency.offset_s) / self._bucket_s - slack
        high = (self.most_s - self.latency.offset_s) / self._bucket_s + slack
        return range(max(0, int(low)), max(0, int(high) + 1))

    @cached_property
    def _sizes(self) -> list[int]:
        return sorted(size for size in self._ways[0] if size in self._range)

    @cached_property
    def _lengths(self) -> list[int]:
        """Candidates of each size and all smaller ones."""
        return list(accumulate(self._ways[0][size] for size in self._sizes))

    def _candidate(self, index: int) -> BranchPath:
        """The candidate of a number: its size first, then branch by branch."""
        at = bisect_right(self._lengths, index)
        left, index = self._sizes[at], index - (self._lengths[at - 1] if at else 0)
        path, block = list[Branch](), 0
        while block < self.space.blocks:
            for branch in self.space.starting[block]:
                number = self._ways[branch.end].get(left - self._buckets[branch], 0)
                if index < number:
                    break
                index -= number
            path.append(branch)
            left, block = left - self._buckets[branch], branch.end
        return tuple(path)
