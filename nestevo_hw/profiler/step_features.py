"""A training step as numbers for regression: amounts of work whose times add up, and features of the whole."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.profiler.operations import COMPUTING, SORTS, Operation
from nestevo_hw.profiler.training_step import TrainingStep

Array = NDArray[np.float64]

CACHED_BYTES = 1 << 20
"""Operations on less than this find their data in the processor's own cache."""
FULL_CHANNELS = 64
"""Convolutions with fewer channels leave vector units partly idle."""
BFLOAT16_BYTES = 2


def work_amounts(step: TrainingStep) -> dict[str, float]:
    """Work by name, none negative; time is about linear in it, with one rate for each name."""
    work: defaultdict[str, float] = defaultdict(float)
    for operation, count in step.work.operations:
        for name, amount in _amounts(operation):
            work[name] += count * amount
    work["parameters"] = step.work.parameters
    work["tensors"] = step.work.tensors
    work["frames"] = step.batch_size
    work["step"] = 1
    return dict(work)


def _amounts(operation: Operation) -> list[tuple[str, float]]:
    sort, moved = operation.sort, operation.in_bytes + operation.out_bytes
    if sort.removesuffix(" backward") not in COMPUTING:
        where = "cached" if moved < CACHED_BYTES else "memory"
        return [(f"{sort} calls", 1.0), (f"{sort} bytes, {where}", float(moved))]
    reduced = " bfloat16" if operation.itemsize == BFLOAT16_BYTES else ""
    narrow_in = max(FULL_CHANNELS / max(operation.inputs, 1) - 1, 0.0)
    narrow_out = max(FULL_CHANNELS / max(operation.outputs, 1) - 1, 0.0)
    return [
        (f"{sort} calls", 1.0),
        (f"{sort} macs{reduced}", float(operation.macs)),
        (f"{sort} macs, few inputs{reduced}", operation.macs * narrow_in),
        (f"{sort} macs, few outputs{reduced}", operation.macs * narrow_out),
        (f"{sort} bytes{reduced}", float(moved)),
        (f"{sort} weight bytes", float(operation.weight_bytes)),
    ]


def step_features(step: TrainingStep) -> Array:
    """Features (F,) of a step: logarithms of its size, shares of its sorts of work, flags."""
    work = step.work
    macs: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    calls = narrow = computing = 0.0
    for operation, count in work.operations:
        macs[operation.sort] += operation.macs * count
        moved[operation.sort] += (operation.in_bytes + operation.out_bytes + operation.weight_bytes) * count
        calls += count
        if operation.pixels:
            computing += count
            narrow += count * np.log(max(min(operation.inputs, operation.outputs), 1))
    all_macs, all_moved = macs.total() + 1.0, moved.total() + 1.0
    sizes = (all_macs, all_moved, calls, all_macs / (computing + 1), all_moved / (calls + 1), all_macs / all_moved,
             work.parameters, work.tensors, work.transient_bytes, work.saved_bytes, work.held_bytes,
             work.layer_output_bytes, step.batch_size, step.pixels)  # fmt: skip
    shares = [macs[sort] / all_macs for sort in SORTS if sort.removesuffix(" backward") in COMPUTING]
    shares += [moved[sort] / all_moved for sort in SORTS]
    ratios = (work.saved_bytes / (work.transient_bytes + 1), work.transient_bytes / max(work.peak_bytes, 1),
              narrow / (computing + 1), float(step.bfloat16))  # fmt: skip
    return np.array([*(np.log(max(size, 1.0)) for size in sizes), *shares, *ratios])


def feature_matrix(steps: Sequence[TrainingStep]) -> Array:
    """Features (N, F) of several steps."""
    return np.stack([step_features(step) for step in steps])
