"""The analytic time of a step: work of each sort divided by the rate at which this device does it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from nestevo_hw.profiler.clock import Clock
from nestevo_hw.profiler.step_features import Array, work_amounts
from nestevo_hw.profiler.training_step import TrainingStep

SHRINKAGE = 0.02
"""Weight of the penalty on each rate's share of the time, against one sample's relative error of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFigures:
    """How fast a device is, a CPU with one thread, by three simple measurements."""

    macs_per_s: float
    """Of a large matrix product in float32."""
    bytes_per_s: float
    """Read and written, of arrays that fit no cache."""
    call_s: float
    """Of an operation on next to nothing."""


def measure_device(device: torch.device) -> DeviceFigures:
    """Half a second of measuring."""
    clock, side = Clock(device), 1024 if device.type == "cpu" else 4096
    square, long, one = (torch.rand(n, device=device) for n in (side * side, 1 << 24, 1))
    square = square.view(side, side)
    product, added = _fastest(lambda: square @ square, 5, clock), _fastest(lambda: long + 1.0, 5, clock)
    called = _fastest(lambda: [one + 1.0 for _ in range(1000)], 5, clock)
    return DeviceFigures(macs_per_s=side**3 / product, bytes_per_s=2 * long.nbytes / added, call_s=called / 1000)


def nominal_step_s(step: TrainingStep, device: DeviceFigures) -> float:
    """Time of a step if every operation ran at the device's full speed, arithmetic, memory and calls one after another.

    It needs no samples, only three figures of a device that may be elsewhere.
    """
    moved = sum((o.in_bytes + o.out_bytes + o.weight_bytes) * n for o, n in step.work.operations)
    calls = sum(n for _, n in step.work.operations)
    return step.work.macs / device.macs_per_s + moved / device.bytes_per_s + calls * device.call_s


class Rates:
    """Seconds for each unit of each sort of work, none negative.

    Args:
        seconds: by name of the work.
    """

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.seconds = dict(seconds)

    @classmethod
    def fit(cls, steps: Sequence[TrainingStep], step_s: Array, computing_s: Sequence[float] | None = None) -> "Rates":
        """Least squares of the relative error over measured steps.

        Args:
            steps: measured ones.
            step_s: (N,) seconds they took.
            computing_s: predicted seconds of their convolutions and products, where a model of those is at hand: one
                more term, which the fit weighs against the others.
        """
        terms = [_terms(step, None if computing_s is None else computing_s[i]) for i, step in enumerate(steps)]
        names = sorted({name for one in terms for name, amount in one.items() if amount > 0})
        table = np.array([[one.get(name, 0.0) for name in names] for one in terms]) / step_s[:, None]
        scale = table.max(0)
        rows = np.vstack([table / scale, SHRINKAGE * np.eye(len(names))])
        weights, _ = nnls(rows, np.concatenate([np.ones(len(steps)), np.zeros(len(names))]))
        return cls({name: float(w / s) for name, w, s in zip(names, weights, scale, strict=True) if w > 0})

    def step_s(self, step: TrainingStep, computing_s: float | None = None) -> float:
        """Seconds of a step; work of a sort that no sample had takes no time. `computing_s` as in `fit`."""
        total = sum(self.seconds.get(name, 0.0) * amount for name, amount in _terms(step, computing_s).items())
        return max(total, 1e-6)


def _terms(step: TrainingStep, computing_s: float | None) -> dict[str, float]:
    amounts = work_amounts(step)
    if computing_s is None:
        return amounts
    return amounts | {"computing": computing_s}


def _fastest(run: Callable[[], object], times: int, clock: Clock) -> float:
    seconds = []
    for _ in range(times):
        began = clock.wall_s()
        run()
        seconds.append(clock.wall_s() - began)
    return min(seconds)
