"""From features of a task to its predicted memory and time, corrected by what its like really took."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from nestevo_hw.profiler.features import StepProfile, TaskFeatures
from nestevo_hw.profiler.memory import resident_memory, training_memory
from nestevo_hw.profiler.time import training_seconds
from nestevo_hw.profiler.vector import StepTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a task is expected to need."""

    memory_bytes: int
    """Peak; resident on a CPU, allocated on a GPU."""
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a finished task needed."""

    memory_bytes: int
    """Peak, of the same sort as the prediction."""
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
    profile: StepProfile,
    *,
    kind: str,
    frames: int,
    batch_size: int,
    steps: int,
    on_gpu: bool = False,
    task: StepTask | None = None,
) -> TaskFeatures:
    """Features of a training task from the dry run of one of its steps, where the task will run.

    `task` is the same step by a fake run at the batch size, for a stored profile to predict from.
    """
    memory = training_memory(profile, batch_size).total if on_gpu else resident_memory(profile, batch_size)
    return TaskFeatures(
        kind=kind,
        parameters=profile.parameters,
        macs_per_step=profile.macs.at(batch_size),
        activation_bytes=profile.saved_bytes.at(batch_size),
        frames=frames,
        batch_size=batch_size,
        steps=steps,
        dry_memory_bytes=memory,
        dry_duration_s=training_seconds(profile, batch_size=batch_size, steps=steps),
        task=task,
    )


class DryRunCosts:
    """The dry run's figures times the ratio by which earlier tasks of the kind missed them.

    Time takes the geometric mean ratio of all tasks seen, so that one slow task weighs no more than a fast one; memory
    the largest ratio, because too little kills a task and too much only delays one.
    """

    def __init__(self) -> None:
        self._log_times: defaultdict[str, list[float]] = defaultdict(list)
        self._memory_ratio: dict[str, float] = {}

    def predict(self, features: TaskFeatures) -> Prediction:
        """See `CostModel.predict`."""
        logs = self._log_times[features.kind]
        time_ratio = math.exp(sum(logs) / len(logs)) if logs else 1.0
        memory_ratio = self._memory_ratio.get(features.kind, 1.0)
        return Prediction(
            memory_bytes=math.ceil(features.dry_memory_bytes * memory_ratio),
            duration_s=features.dry_duration_s * time_ratio,
        )

    def observe(self, features: TaskFeatures, measured: Measured) -> None:
        """See `CostModel.observe`."""
        ratio = measured.memory_bytes / features.dry_memory_bytes
        self._memory_ratio[features.kind] = max(self._memory_ratio.get(features.kind, 0.0), ratio)
        self._log_times[features.kind].append(math.log(measured.duration_s / features.dry_duration_s))
