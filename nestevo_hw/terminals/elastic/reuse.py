"""Many paths on the same frames, each shared beginning computed once: a tree of prefixes, walked depth first."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.terminals.elastic.latency import LatencyModel


@dataclass(slots=True)
class Prefix:
    """Where paths that begin alike go on."""

    follow: dict[Branch, "Prefix"] = field(default_factory=dict)
    """By the next branch, in order."""
    ends: list[int] = field(default_factory=list)
    """Numbers of the paths that end here; more than one where a path is asked for twice."""


def prefix_tree(paths: Sequence[BranchPath]) -> Prefix:
    """The tree of all beginnings of paths."""
    root = Prefix()
    for number, path in sorted(enumerate(paths), key=lambda one: one[1]):
        node = root
        for branch in path:
            node = node.follow.setdefault(branch, Prefix())
        node.ends.append(number)
    return root


def outputs[T](
    paths: Sequence[BranchPath], batches: Iterable[T], run: Callable[[Branch, T], T]
) -> Iterator[tuple[int, int, T]]:
    """What comes out at the end of each path for each batch, bit by bit what each path alone would give.

    Batches are outside and paths inside, so that each batch is read once. A feature is kept until the last branch that
    goes on from it has ended; beside the batch itself no more of them live at a time than the longest path has
    branches, unless the caller keeps what it was given.

    Args:
        paths: to run.
        batches: what goes into the first block.
        run: one branch on what came out of the last one; it must depend on nothing else. What travels beside the
            feature, such as tapped outputs, is part of it.

    Yields:
        Number of the batch, number of the path, output; by batch, and within one in an order that shares most.
    """
    root = prefix_tree(paths)
    for number, batch in enumerate(batches):
        waiting = _onward(root, batch)
        del batch  # features of its own are all that this needs to keep
        while waiting:
            branch, node, given = waiting.pop()
            feature = run(branch, given)
            del given
            for path in node.ends:
                yield number, path, feature
            waiting += _onward(node, feature)
            del feature


def _onward[T](node: Prefix, feature: T) -> list[tuple[Branch, Prefix, T]]:
    """Steps that go on from a node, the first one last, as a stack takes them."""
    return [(branch, follow, feature) for branch, follow in reversed(node.follow.items())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What paths take together, in seconds of blocks for one frame, as the latency table predicts."""

    alone_s: float
    """Each path from its beginning."""
    shared_s: float
    """Each shared beginning once."""

    @property
    def saved(self) -> float:
        """How many times less."""
        return self.alone_s / self.shared_s


def work(paths: Sequence[BranchPath], latency: LatencyModel) -> Work:
    """What sharing saves of different paths."""
    alone = sum(latency.of(branch) for path in paths for branch in path)
    prefixes = {path[: length + 1] for path in paths for length in range(len(path))}
    return Work(alone_s=alone, shared_s=sum(latency.of(prefix[-1]) for prefix in prefixes))
