"""Small spaces with made-up times, that a test can enumerate."""

import random

from nestevo_hw.models.elastic.space import PathSpace, all_branches
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyModel


def space_of(blocks, taps=(), rates=(0.25, 0.5)):
    return PathSpace(blocks, all_branches(blocks, taps=taps, rates=rates))


def times_of(space, seed=0, offset_s=0.003):
    """Blocks of 1 to 3 ms; a merge takes somewhat more than one of its blocks, a shrunk block less than it."""
    generator = random.Random(seed)
    block = [generator.uniform(1e-3, 3e-3) for _ in range(space.blocks)]

    def seconds(branch):
        most = max(block[branch.start : branch.end])
        return most * (1 - 0.8 * branch.shrink) * generator.uniform(0.95, 1.05) * (1.2 if branch.span > 1 else 1.0)

    return LatencyModel(tuple(BranchTime(branch, seconds(branch)) for branch in space.branches), offset_s)
