"""What a run's tasks are expected to cost before each runs: dry runs for trainings, its like for all others."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.dryrun import DryRun
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.profiler.costs import CostModel, DryRunCosts, Measured, Prediction, TaskFeatures, task_features
from nestevo_hw.profiler.learned import ProfiledCosts
from nestevo_hw.profiler.step_cost import StepCost
from nestevo_hw.profiler.target import TargetDevice
from nestevo_hw.profiler.training_step import TrainingStep
from nestevo_hw.scheduler.task import TaskResult

FIRST_GUESS = Prediction(memory_bytes=700_000_000, duration_s=3.0)
"""For a kind of task nothing is known about yet: a worker with its libraries and a small model."""


@dataclass(slots=True)
class _Seen:
    """What the finished tasks of one kind took."""

    tasks: int = 0
    total_s: float = 0.0
    peak_bytes: int = 0


class TaskCosts:
    """Predictions by kind of task and terminal, corrected by every finished task."""

    def __init__(self, config: RunConfig, device: TargetDevice) -> None:
        self._plans = {step.kind: step.plan(config) for step in STEPS.values() if step.plan is not None}
        self._frames = config.window.upload_frames
        self._device = device
        stored = config.execution.profile
        self._trainings: CostModel = ProfiledCosts.load(Path(stored)) if stored else DryRunCosts()
        self._steps: dict[tuple[str, str], TrainingStep] = {}
        self._profiles: dict[tuple[str, str], StepCost] = {}
        self._seen: dict[str, _Seen] = defaultdict(_Seen)

    def learn(self, terminal: str, dry_run: DryRun) -> None:
        """Take over the dry run of a terminal's trainings."""
        self._steps |= {(kind, terminal): step for kind, step in dry_run.fake.items()}
        self._profiles |= {(kind, terminal): profile for kind, profile in dry_run.profiles.items()}

    def predict(self, kind: str, terminal: str, steps: int | None = None) -> Prediction:
        """Expected needs of the next task of this kind for this terminal; `steps` where they differ from the plan."""
        features = self._features(kind, terminal, steps)
        if features is not None:
            return self._trainings.predict(features)
        like = self._seen[kind]
        if not like.tasks:
            return FIRST_GUESS
        return Prediction(memory_bytes=like.peak_bytes, duration_s=max(like.total_s / like.tasks, 1e-3))

    def observe(self, kind: str, terminal: str, result: TaskResult, steps: int | None = None) -> None:
        """Learn from a finished task."""
        duration_s = max(result.ended_s - result.started_s, 1e-3)
        features = self._features(kind, terminal, steps)
        if features is not None:
            # Workers tell the peak of main memory, which says nothing about a GPU's.
            peak = result.peak_memory_bytes if self._device.kind == "cpu" else None
            self._trainings.observe(features, Measured(memory_bytes=peak, duration_s=duration_s))
        like = self._seen[kind]
        like.tasks += 1
        like.total_s += duration_s
        like.peak_bytes = max(like.peak_bytes, result.peak_memory_bytes)

    def _features(self, kind: str, terminal: str, steps: int | None) -> TaskFeatures | None:
        profile = self._profiles.get((kind, terminal))
        if profile is None:
            return None
        plan = self._plans[kind]
        return task_features(
            profile,
            kind=kind,
            frames=self._frames,
            batch_size=plan.batch_size,
            steps=steps or plan.steps,
            device=self._device,
            step=self._steps.get((kind, terminal)),
        )
