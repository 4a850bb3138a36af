"""Hooks of a small model, written by hand."""

import numpy as np

from nestevo_hw.terminals.dynamic.hooks.ways import Hooks, Skip, checksum
from nestevo_hw.terminals.dynamic.preparing import START
from tests.terminals.dynamic.made_parts import BLOCK, CHANNELS


def hooks_of(prepared, **ways):
    """Hooks with one rung for each way of the first block; they agreed on all frames."""
    rungs = tuple({BLOCK: name} for name in ways)
    draw = np.random.default_rng(0)
    return Hooks(
        model=checksum(prepared.parts, prepared.path), after=START, rungs=rungs, ways={BLOCK: ways},
        looked=draw.standard_normal((40, CHANNELS)), agreed=np.ones((40, len(ways))),
    )  # fmt: skip


def same():
    return Skip(np.ones(CHANNELS, np.float32), np.zeros(CHANNELS, np.float32), np.zeros(CHANNELS, np.float32))
