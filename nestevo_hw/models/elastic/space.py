"""The paths through a supernet: branches over basic blocks, and every way to chain them from the first to the last."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from nestevo_hw.base.ranges import Range

MOST_BLOCKS = 1000
LONGEST_SPAN = 3


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """One way through basic blocks `start` to `start + span - 1`.

    A span of 1 without shrinkage is the original block, a longer one a single block merged over these; a shrunk block
    is pruned structurally.

    Raises:
        ValueError: numbers that are no branch; the codec says where in a file they stand.
    """

    start: Annotated[int, Range(0, MOST_BLOCKS)]
    span: Annotated[int, Range(1, LONGEST_SPAN)] = 1
    shrink: Annotated[float, Range(0, 0.99)] = 0.0
    """Share of the channels that is pruned away; 0: none."""

    def __post_init__(self) -> None:
        if self.start < 0 or not 1 <= self.span <= LONGEST_SPAN or not 0 <= self.shrink < 1:
            raise ValueError(f"no branch starts at {self.start}, spans {self.span} blocks and shrinks by {self.shrink}")
        if self.span > 1 and self.shrink:
            raise ValueError(f"a branch is merged or shrunk, not both: {self.span} blocks from {self.start}")

    @property
    def end(self) -> int:
        """The block after the last one that this replaces."""
        return self.start + self.span

    @property
    def original(self) -> bool:
        """Whether this is a block of the base model."""
        return self.span == 1 and not self.shrink

    @property
    def name(self) -> str:
        """For people and names of files: "3" the original, "3-5" merged over three, "3@0.25" shrunk."""
        if self.span > 1:
            return f"{self.start}-{self.end - 1}"
        return f"{self.start}@{self.shrink:g}" if self.shrink else str(self.start)


BranchPath = tuple[Branch, ...]
"""Branches that follow one another from the first block to the last."""


def path_name(path: BranchPath) -> str:
    """For people: the branches' names."""
    return "+".join(branch.name for branch in path)


def all_branches(
    blocks: int, *, taps: Iterable[int] = (), spans: Sequence[int] = (2, 3), rates: Sequence[float] = (0.25, 0.5)
) -> tuple[Branch, ...]:
    """The originals, every merge that hides no tapped output, and every block shrunk at each rate.

    Args:
        blocks: of the base model.
        taps: blocks whose outputs are also read elsewhere, as by a feature pyramid; a merge may end in one.
        spans: lengths of merged blocks.
        rates: of pruning.
    """
    hidden = set(taps)
    found = [Branch(start) for start in range(blocks)]
    found += [Branch(start, 1, rate) for start in range(blocks) for rate in rates]
    for span in spans:
        starts = range(blocks - span + 1)
        found += [Branch(start, span) for start in starts if hidden.isdisjoint(range(start, start + span - 1))]
    return tuple(sorted(found))


@dataclass(frozen=True)
class PathSpace:
    """All paths of the branches that there are; what is no branch cannot be on a path.

    Raises:
        ValueError: branches out of order or twice, beyond the last block, or a block without its original.
    """

    blocks: Annotated[int, Range(1, MOST_BLOCKS)]
    branches: tuple[Branch, ...]
    """In order. Whoever builds the supernet says which are possible: see `all_branches`."""

    def __post_init__(self) -> None:
        if list(self.branches) != sorted(set(self.branches)):
            raise ValueError("branches are not in order, or one is there twice")
        if beyond := [b.name for b in self.branches if b.end > self.blocks]:
            raise ValueError(f"branch {beyond[0]} ends beyond the last of {self.blocks} blocks")
        if missing := sorted(set(range(self.blocks)) - {b.start for b in self.branches if b.original}):
            raise ValueError(f"the original of block {missing[0]} is not among the branches")

    @property
    def base(self) -> BranchPath:
        """The path of the base model."""
        return tuple(Branch(start) for start in range(self.blocks))

    @cached_property
    def starting(self) -> tuple[tuple[Branch, ...], ...]:
        """Branches that start at each block."""
        return tuple(tuple(b for b in self.branches if b.start == block) for block in range(self.blocks))

    @cached_property
    def ways(self) -> tuple[int, ...]:
        """Number of ways from before each block to the end; the last entry, after all blocks, is 1."""
        ways = [0] * self.blocks + [1]
        for block in reversed(range(self.blocks)):
            ways[block] = sum(ways[branch.end] for branch in self.starting[block])
        return tuple(ways)

    @property
    def count(self) -> int:
        """Number of paths."""
        return self.ways[0]

    def path_at(self, index: int) -> BranchPath:
        """The path with a number from 0 to `count - 1`, in the order of `paths`.

        Raises:
            IndexError: there is none of this number.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"no path {index} among {self.count}")
        path = list[Branch]()
        block = 0
        while block < self.blocks:
            for branch in self.starting[block]:
                if index < self.ways[branch.end]:
                    break
                index -= self.ways[branch.end]
            path.append(branch)
            block = branch.end
        return tuple(path)

    def sample(self, generator: random.Random) -> BranchPath:
        """A path, each as likely as any other."""
        return self.path_at(generator.randrange(self.count))

    def paths(self) -> Iterator[BranchPath]:
        """Every path, in order; see `count` first."""
        return self._paths_from(0)

    def holds(self, path: BranchPath) -> bool:
        """Whether this is a path: known branches, each from where the last one ended, to the end."""
        known = self.known
        ends = [0, *(branch.end for branch in path)]
        return ends[-1] == self.blocks and all(
            branch.start == end and branch in known for branch, end in zip(path, ends, strict=False)
        )

    @cached_property
    def known(self) -> frozenset[Branch]:
        """The branches, to ask whether one is among them."""
        return frozenset(self.branches)

    def _paths_from(self, block: int) -> Iterator[BranchPath]:
        if block == self.blocks:
            yield ()
            return
        for branch in self.starting[block]:
            for rest in self._paths_from(branch.end):
                yield (branch, *rest)
