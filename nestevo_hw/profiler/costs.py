"""From features of a task to its predicted memory and time, corrected by what its like really took."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from nestevo_hw.profiler.memory import resident_memory, training_memory
from nestevo_hw.profiler.step_cost import StepCost
from nestevo_hw.profiler.target import CPU, GpuMemory, TargetDevice, rounded_up
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
    """Peak memory before any like it has run, of the same sort as `Prediction.memory_bytes`."""
    dry_duration_s: float
    """Duration by the dry run."""
    subject: str = ""
    """Whom the task serves: tasks of one kind and subject have the same models and about as many frames."""
    step: TrainingStep | None = None
    """One step by a fake run, for models that have learned this machine; None where none was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a task is expected to need."""

    memory_bytes: int
    """Peak: what its process takes of its own on a CPU, all that it takes of a GPU."""
    duration_s: float
    guessed: bool = False
    """Whether nothing was known of its like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a task needed that has finished or failed."""

    memory_bytes: int | None
    """Peak, of the same sort as the prediction; None where only another sort is known."""
    duration_s: float | None
    """None if it did not come to its end."""


class CostModel(Protocol):
    """Predicts tasks, and learns from those that have finished."""

    def predict(self, features: TaskFeatures) -> Prediction:
        """Expected needs of a task."""
        ...

    def observe(self, features: TaskFeatures, measured: Measured) -> None:
        """Take a task into account that has finished or failed."""
        ...


def task_features(
    cost: StepCost,
    *,
    kind: str,
    subject: str = "",
    frames: int,
    batch_size: int,
    steps: int,
    device: TargetDevice = CPU,
    step: TrainingStep | None = None,
    gpu: GpuMemory | None = None,
) -> TaskFeatures:
    """Features of a training task from the dry run of one of its steps, on the device where the task will run.

    `step` is the same step by a fake run at the batch size, for a stored profile; `gpu` what the training takes of a
    GPU by a fake run, without which the peak of the dry run's tensors stands for it.
    """
    if device.kind == "cpu":
        memory = resident_memory(cost, batch_size)
    else:
        memory = (gpu or rounded_up(device, training_memory(cost, batch_size).total)).total_bytes
    return TaskFeatures(
        kind=kind,
        subject=subject,
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
    """The largest ratio by which tasks have gone beyond their predicted memory: of the kind and subject, else the kind.

    The largest, because too little kills a task and too much only delays one.
    """

    def __init__(self) -> None:
        self._ratios: dict[str, dict[str, float]] = defaultdict(dict)
        """By kind and subject."""

    def corrected(self, features: TaskFeatures) -> int:
        """Memory of the features in bytes, times their ratio; as it is where none of the kind has finished."""
        like = self._ratios[features.kind]
        ratio = like.get(features.subject, max(like.values(), default=1.0))
        return math.ceil(features.dry_memory_bytes * ratio)

    def observe(self, features: TaskFeatures, memory_bytes: int | None) -> None:
        """Take what a task took into account, if that is known."""
        if memory_bytes is not None:
            like = self._ratios[features.kind]
            like[features.subject] = max(
                like.get(features.subject, 0.0), memory_bytes / max(features.dry_memory_bytes, 1)
            )


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
        self._memory.observe(features, measured.memory_bytes)
        if measured.duration_s is not None:
            self._log_times[features.kind].append(math.log(measured.duration_s / features.dry_duration_s))
