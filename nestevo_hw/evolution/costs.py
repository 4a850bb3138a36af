"""What a run's tasks are expected to cost before each runs: dry runs for trainings, its like for all others."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.dryrun import DryRun
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.profiler.costs import CostModel, DryRunCosts, Measured, Prediction, TaskFeatures, task_features
from nestevo_hw.profiler.learned import ProfiledCosts
from nestevo_hw.profiler.step_cost import StepCost
from nestevo_hw.profiler.target import GpuMemory, TargetDevice
from nestevo_hw.profiler.training_step import TrainingStep
from nestevo_hw.scheduler.task import TaskFailure, TaskResult

FIRST_GUESS = Prediction(memory_bytes=700_000_000, duration_s=3.0)
"""For a kind of task nothing is known about yet: a small model and some hundred frames, with room."""


@dataclass(slots=True)
class _Seen:
    """What the finished tasks of one kind took."""

    tasks: int = 0
    total_s: float = 0.0
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """By terminal; of failed ones too, that took more than they had reserved."""


class TaskCosts:
    """Predictions by kind of task and terminal, corrected by every finished task."""

    def __init__(self, config: RunConfig, device: TargetDevice) -> None:
        self._plans = {step.kind: step.plan(config) for step in STEPS.values() if step.plan is not None}
        self._frames = config.window.upload_frames
        self._device = device
        local = config.execution.executor == "local"  # a cluster's nodes offer what they have
        self._given_bytes = round(config.execution.memory_gb * 1e9)
        self._most_bytes = self._given_bytes if local else None
        stored = config.execution.profile
        self._trainings: CostModel = ProfiledCosts.load(Path(stored), device) if stored else DryRunCosts()
        self._steps: dict[tuple[str, str], TrainingStep] = {}
        self._profiles: dict[tuple[str, str], StepCost] = {}
        self._gpu: dict[tuple[str, str], GpuMemory] = {}
        self._seen: dict[str, _Seen] = defaultdict(_Seen)

    def learn(self, terminal: str, dry_run: DryRun) -> None:
        """Take over the dry run of a terminal's trainings."""
        self._steps |= {(kind, terminal): step for kind, step in dry_run.fake.items()}
        self._profiles |= {(kind, terminal): profile for kind, profile in dry_run.profiles.items()}
        self._gpu |= {(kind, terminal): memory for kind, memory in dry_run.gpu.items()}

    def predict(self, kind: str, terminal: str, steps: int | None = None) -> Prediction:
        """Expected needs of the next task of this kind for this terminal; `steps` where they differ from the plan."""
        features = self._features(kind, terminal, steps)
        if features is not None:
            return self._learned(self._trainings.predict(features), features.dry_memory_bytes)
        like = self._seen[kind]
        duration_s = max(like.total_s / like.tasks, 1e-3) if like.tasks else FIRST_GUESS.duration_s
        memory_bytes = like.peak_bytes.get(terminal, max(like.peak_bytes.values(), default=self._first_bytes(kind)))
        return self._learned(Prediction(memory_bytes=memory_bytes, duration_s=duration_s), 0)

    def _first_bytes(self, kind: str) -> int:
        """What a task reserves before any like it has run.

        Of a GPU all, as the allocator keeps it to that, or nothing if it computes on the CPU.
        """
        if self._device.kind == "cpu":
            return FIRST_GUESS.memory_bytes
        return self._given_bytes if STEPS[kind].needs == "gpu" else 0

    def _learned(self, prediction: Prediction, unlearned_bytes: int) -> Prediction:
        """A prediction, of no more memory than there is to reserve, unless that was clear before any task had run.

        What takes more than all has been seen to run, so it goes on, alone.
        """
        if self._most_bytes is None:
            return prediction
        return replace(prediction, memory_bytes=min(prediction.memory_bytes, max(self._most_bytes, unlearned_bytes)))

    def observe(self, kind: str, terminal: str, ended: TaskResult | TaskFailure, steps: int | None = None) -> None:
        """Learn from a task that has finished, or that failed after it took more memory than it had reserved."""
        peak_bytes: int | None = 0 if ended.excess is None else ended.excess.peak_bytes
        duration_s: float | None = None
        if isinstance(ended, TaskResult):
            peak_bytes = self._held(ended, peak_bytes or 0)
            duration_s = max(ended.ended_s - ended.started_s, 1e-3)
        elif not peak_bytes:
            return
        features = self._features(kind, terminal, steps)
        if features is not None:
            self._trainings.observe(features, Measured(memory_bytes=peak_bytes, duration_s=duration_s))
        like = self._seen[kind]
        if duration_s is not None:
            like.tasks += 1
            like.total_s += duration_s
        if peak_bytes is not None:
            like.peak_bytes[terminal] = max(like.peak_bytes.get(terminal, 0), peak_bytes)

    def _held(self, ended: TaskResult, excess_bytes: int) -> int | None:
        """Most that a task took of the memory that tasks reserve; None where only another sort was told."""
        if self._device.kind == "cpu":
            return max(ended.peak_memory_bytes, excess_bytes)
        return None if ended.gpu_peak_bytes is None else max(ended.gpu_peak_bytes, excess_bytes)

    def _features(self, kind: str, terminal: str, steps: int | None) -> TaskFeatures | None:
        profile = self._profiles.get((kind, terminal))
        if profile is None:
            return None
        plan = self._plans[kind]
        return task_features(
            profile,
            kind=kind,
            subject=terminal,
            frames=self._frames,
            batch_size=plan.batch_size,
            steps=steps or plan.steps,
            device=self._device,
            step=self._steps.get((kind, terminal)),
            gpu=self._gpu.get((kind, terminal)),
        )
