"""From features of a task to its predicted memory and time, corrected by what its like really took."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from nestevo_hw.profiler.memory import resident_memory, training_memory
from nestevo_hw.profiler.step_cost import StepCost
from nestevo_hw.profiler.target import CPU, TargetDevice, gpu_bytes
from nestevo_hw.profiler.time import training_seconds
from nestevo_hw.profiler.training_step import TrainingStep


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFeatures:
    """What cost models predict from: one step of a training task, and how often it will be repeated."""

    kind: str
    """Tasks of one kind run the same code, for example "mutual"."""
    parameters: int
    macs_per_step: float
    activation_bytes: float
    """Kept for the backward pass at this batch size."""
    frames: int
    """Different frames to learn from."""
    batch_size: int
    steps: int
    dry_memory_bytes: int
    """Peak memory before any like it has run: resident on a CPU, all that the process takes of a GPU."""
    dry_duration_s: float
    """Duration by the dry run."""
    step: TrainingStep | None = None
    """One step by a fake run, for models that have learned this machine; None where none was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a task is expected to need."""

    memory_bytes: int
    """Peak; resident on a CPU, all that the process takes of a GPU."""
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a finished task needed."""

    memory_bytes: int | None
    """Peak, of the same sort as the prediction; None where only another sort is known."""
    duration_s: float


class CostModel(Protocol):
    """Predicts tasks, and learns from those that have finished."""

    def predict(self, features: TaskFeatures) -> Prediction:
        """Expected needs of a task."""
        ...

    def observe(self, features: TaskFeatures, measured: Measured) -> None:
        """Take a finished task into account."""
        ...


def task_features(
    cost: StepCost,
    *,
    kind: str,
    frames: int,
    batch_size: int,
    steps: int,
    device: TargetDevice = CPU,
    step: TrainingStep | None = None,
) -> TaskFeatures:
    """Features of a training task from the dry run of one of its steps, on the device where the task will run.

    `step` is the same step by a fake run at the batch size: for the memory of a GPU, and for a stored profile.
    """
    if device.kind == "cpu":
        memory = resident_memory(cost, batch_size)
    else:
        allocated = training_memory(cost, batch_size).total
        memory = gpu_bytes(device, allocated=allocated, work=None if step is None else step.work)
    return TaskFeatures(
        kind=kind,
        parameters=cost.parameters,
        macs_per_step=cost.macs.at(batch_size),
        activation_bytes=cost.saved_bytes.at(batch_size),
        frames=frames,
        batch_size=batch_size,
        steps=steps,
        dry_memory_bytes=memory,
        dry_duration_s=training_seconds(cost, batch_size=batch_size, steps=steps),
        step=step,
    )


class MemoryRatios:
    """The largest ratio by which a task of each kind has gone beyond its predicted memory.

    The largest, because too little kills a task and too much only delays one.
    """

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}

    def corrected(self, features: TaskFeatures) -> int:
        """Memory of the features in bytes, times the ratio of the kind; as it is where none has finished."""
        return math.ceil(features.dry_memory_bytes * self._ratios.get(features.kind, 1.0))

    def observe(self, features: TaskFeatures, measured: Measured) -> None:
        """Take a finished task into account."""
        if measured.memory_bytes is not None:
            ratio = measured.memory_bytes / features.dry_memory_bytes
            self._ratios[features.kind] = max(self._ratios.get(features.kind, 0.0), ratio)


class DryRunCosts:
    """The dry run's figures, corrected by the ratios by which earlier tasks of the kind missed them.

    Time takes the geometric mean ratio of all tasks seen, so that one slow task weighs no more than a fast one.
    """

    def __init__(self) -> None:
        self._log_times: defaultdict[str, list[float]] = defaultdict(list)
        self._memory = MemoryRatios()

    def predict(self, features: TaskFeatures) -> Prediction:
        """See `CostModel.predict`."""
        logs = self._log_times[features.kind]
        time_ratio = math.exp(sum(logs) / len(logs)) if logs else 1.0
        return Prediction(
            memory_bytes=self._memory.corrected(features), duration_s=features.dry_duration_s * time_ratio
        )

    def observe(self, features: TaskFeatures, measured: Measured) -> None:
        """See `CostModel.observe`."""
        self._memory.observe(features, measured)
        self._log_times[features.kind].append(math.log(measured.duration_s / features.dry_duration_s))
