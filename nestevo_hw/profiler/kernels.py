"""Time of single convolutions and products, learned from every one that the samples did."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from nestevo_hw.base.seeding import numpy_generator
from nestevo_hw.profiler.operations import COMPUTING, SORTS, Operation
from nestevo_hw.profiler.regressor import Regressor, RegressorPlan
from nestevo_hw.profiler.step_features import BFLOAT16_BYTES, Array

COMPUTING_SORTS = tuple(sort for sort in SORTS if sort.removesuffix(" backward") in COMPUTING)
PLAN = RegressorPlan(members=2, hidden=40, epochs=250, learning_rate=1e-2, weight_decay=1e-3, left_out=0.0, jitter=0.0)
MOST_ROWS = 2500
"""Operations to learn from; those that take long are drawn more often."""

Timed = tuple[Operation, int, float]


class Kernels:
    """Predicts the seconds of operations that compute, from their shapes.

    Args:
        regressor: of the logarithm of seconds.
    """

    def __init__(self, regressor: Regressor) -> None:
        self.regressor = regressor

    @classmethod
    def fit(cls, timed: Sequence[Timed], *, seed: int = 0) -> "Kernels | None":
        """From operations, how often each was done, and the seconds of one; None if there are too few."""
        if len(timed) < len(COMPUTING_SORTS):
            return None
        spent = np.array([count * seconds for _, count, seconds in timed])
        chance = np.sqrt(spent) / np.sqrt(spent).sum()
        count = min(MOST_ROWS, len(timed))
        rows = numpy_generator(seed, "kernels").choice(len(timed), count, replace=False, p=chance)
        features = np.stack([_features(timed[row][0]) for row in rows])
        seconds = np.log([[timed[row][2]] for row in rows])
        return cls(Regressor.fit(features, seconds, seed=seed, plan=PLAN))

    def seconds(self, operations: Sequence[tuple[Operation, int]]) -> float:
        """Of all that compute among operations that are done so and so often."""
        known = [(operation, count) for operation, count in operations if operation.sort in COMPUTING_SORTS]
        if not known:
            return 0.0
        logs, _ = self.regressor.predict(np.stack([_features(operation) for operation, _ in known]))
        return float(np.exp(logs[:, 0]) @ np.array([count for _, count in known]))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """To keep in a file."""
        return {f"kernels.{name}": tensor for name, tensor in self.regressor.tensors.items()}


def _features(operation: Operation) -> Array:
    sizes = (operation.macs, operation.in_bytes, operation.out_bytes, operation.weight_bytes, operation.inputs,
             operation.outputs, operation.pixels, operation.taps)  # fmt: skip
    logs = np.log([max(size, 1) for size in sizes])
    intensity = logs[0] - np.log(operation.in_bytes + operation.out_bytes + operation.weight_bytes + 1)
    # How much of a vector unit's 16 lanes the channels fill decides which kernel the library takes.
    lanes = [(operation.inputs % 16) / 16, (operation.outputs % 16) / 16]
    sort = [float(operation.sort == name) for name in COMPUTING_SORTS]
    return np.array([*logs, intensity, *lanes, float(operation.itemsize == BFLOAT16_BYTES), *sort])
