"""What a run's tasks are expected to cost before each runs: dry runs for trainings, its like for all others."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.documents import parse
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.profiler.costs import CostModel, DryRunCosts, Measured, Prediction, task_features
from nestevo_hw.profiler.features import StepProfile, TaskFeatures
from nestevo_hw.profiler.learned import ProfiledCosts
from nestevo_hw.profiler.vector import StepTask
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

    def __init__(self, config: RunConfig, *, on_gpu: bool) -> None:
        self._plans = {"mutual": config.mutual.plan, "distil": config.distil.plan}
        self._frames = config.window.upload_frames
        self._on_gpu = on_gpu
        stored = config.execution.profile
        self._trainings: CostModel = ProfiledCosts.load(Path(stored)) if stored else DryRunCosts()
        self._steps: dict[tuple[str, str], StepTask] = {}
        self._profiles: dict[tuple[str, str], StepProfile] = {}
        self._seen: dict[str, _Seen] = defaultdict(_Seen)

    def learn(self, profiles: Mapping[str, TaskResult]) -> None:
        """Take over dry runs: results of the task `profile`, by terminal."""
        for terminal, result in profiles.items():
            documents = dict(result.value)
            for kind, step in documents.pop("fake", {}).items():
                self._steps[kind, terminal] = parse(step, StepTask, "step")
            for kind, document in documents.items():
                self._profiles[kind, terminal] = parse(document, StepProfile, "step profile")

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
            self._trainings.observe(features, Measured(memory_bytes=result.peak_memory_bytes, duration_s=duration_s))
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
            on_gpu=self._on_gpu,
            task=self._steps.get((kind, terminal)),
        )
