"""What a run's tasks are expected to cost before each runs: dry runs for trainings, its like for all others.

Memory that tasks reserve is a GPU's where models compute on one; main memory that they take beside it is learned, too.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.dryrun import DryRun
from nestevo_hw.evolution.execution import reservable_bytes
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.models.checkpoint import load_model, resolve_checkpoint
from nestevo_hw.models.elastic.store import load_supernet
from nestevo_hw.profiler.costs import CostModel, DryRunCosts, Measured, Prediction, TaskFeatures, task_features
from nestevo_hw.profiler.inference import InferenceMemory, inference_memory
from nestevo_hw.profiler.learned import ProfiledCosts
from nestevo_hw.profiler.step_cost import StepCost
from nestevo_hw.profiler.target import GpuMemory, TargetDevice
from nestevo_hw.profiler.training_step import TrainingStep
from nestevo_hw.scheduler.reservations import LEEWAY_BYTES, LEEWAY_SHARE
from nestevo_hw.scheduler.task import TaskFailure, TaskResult
from nestevo_hw.tasks.batches import frames_at_once
from nestevo_hw.tasks.named import task_named

GPU = torch.device("cuda")
USUALLY_AT_ONCE = 64
"""Most frames of a batch of any task on a CPU; on a GPU they are more."""
FIRST_GUESS = Prediction(memory_bytes=700_000_000, duration_s=3.0, guessed=True)
"""For a kind of task nothing is known about yet: a small model and some hundred frames, with room."""
CELLS, TRAINING = 4, 12
"""Times the memory of a digital forward pass, each frame: converters and noise of the crossbar, and a training step of
two models."""


@dataclass(slots=True)
class _Seen:
    """What the finished tasks of one kind took."""

    tasks: int = 0
    total_s: float = 0.0
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """By terminal; of failed ones too, that took more than they had reserved."""
    host_bytes: dict[str, int] = field(default_factory=dict)
    """The same of main memory, where tasks reserve a GPU's."""


class TaskCosts:
    """Predictions by kind of task and terminal, corrected by every finished task."""

    def __init__(self, config: RunConfig, device: TargetDevice) -> None:
        self._config = config
        self._plans = {step.kind: step.plan(config) for step in STEPS.values() if step.plan is not None}
        self._frames = config.window.upload_frames
        self._device = device
        local = config.execution.executor != "ray"  # a cluster's nodes offer what they have
        self._given_bytes = reservable_bytes(config.execution)
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
            expected = self._trainings.predict(features)
            expected = replace(expected, memory_bytes=self._with_leeway(kind, expected.memory_bytes))
            return self._learned(expected, features.dry_memory_bytes)
        like = self._seen[kind]
        duration_s = max(like.total_s / like.tasks, 1e-3) if like.tasks else FIRST_GUESS.duration_s
        taken_bytes = _of(terminal, like.peak_bytes)
        memory_bytes = self._first_bytes(kind) if taken_bytes is None else self._with_leeway(kind, taken_bytes)
        prediction = Prediction(memory_bytes=memory_bytes, duration_s=duration_s, guessed=not like.tasks)
        return self._learned(prediction, 0)

    def _with_leeway(self, kind: str, taken_bytes: int) -> int:
        """What to reserve for a task that is expected to take so much; of a GPU, to which it is kept, some more."""
        if self._device.kind == "cpu" or STEPS[kind].needs == "cpu":
            return taken_bytes
        taken_bytes = max(taken_bytes, self._device.context_bytes)
        return taken_bytes + max(round(LEEWAY_SHARE * taken_bytes), LEEWAY_BYTES)

    def predict_host(self, kind: str, terminal: str) -> int:
        """Main memory that the next task takes beside a GPU's; 0 where main memory is what tasks reserve.

        No less than a first guess: a library of CUDA is loaded in the first task of a worker that happens to need it.
        """
        if self._device.kind == "cpu":
            return 0
        return max(_of(terminal, self._seen[kind].host_bytes) or 0, FIRST_GUESS.memory_bytes)

    def _first_bytes(self, kind: str) -> int:
        """What a task reserves before any like it has run: of a GPU nothing if it computes on the CPU."""
        if self._device.kind == "cpu":
            return FIRST_GUESS.memory_bytes
        step, config = STEPS[kind], self._config
        if step.needs == "cpu":
            return 0
        frames = float(frames_at_once(USUALLY_AT_ONCE, config.frame_size, GPU))
        if step.needs == "crossbar":
            frames *= CELLS if config.teacher.analog != DIGITAL else 1
            frames *= config.confirmation.zoom**2 if config.confirms and step.part == "labelling" else 1
        elif step.trains or step.plan is not None:
            frames = float(TRAINING * max(plan.batch_size for plan in self._plans.values()))
        return self._inference.on(self._device, frames)

    @cached_property
    def _inference(self) -> InferenceMemory:
        """Of the run's first models."""
        config = self._config
        trained = () if config.teacher.labeller is not None else (config.teacher.model,)
        names = {*trained, *config.fixed_models.values()}
        models = [load_model(resolve_checkpoint(name))[0] for name in sorted(names)]
        if config.elastic_terminals:
            models.append(load_supernet(config.elastic.supernet_file)[0].base)
        return inference_memory(models, task_named(config.task).predict, config.frame_size)

    def _learned(self, prediction: Prediction, unlearned_bytes: int) -> Prediction:
        """A prediction, of no more memory than there is to reserve, unless that was clear before any task had run.

        What takes more than all has been seen to run, so it goes on, alone.
        """
        if self._most_bytes is None:
            return prediction
        return replace(prediction, memory_bytes=min(prediction.memory_bytes, max(self._most_bytes, unlearned_bytes)))

    def observe(self, kind: str, terminal: str, ended: TaskResult | TaskFailure, steps: int | None = None) -> None:
        """Learn from a task that has finished, or that failed after it took more memory than it had reserved."""
        main_bytes = 0 if ended.excess is None else ended.excess.peak_bytes
        peak_bytes: int | None = main_bytes
        duration_s: float | None = None
        if isinstance(ended, TaskResult):
            main_bytes = max(ended.peak_memory_bytes, main_bytes)
            peak_bytes = main_bytes if self._device.kind == "cpu" else ended.gpu_peak_bytes
            duration_s = max(ended.ended_s - ended.started_s, 1e-3)
        elif not main_bytes:
            return
        elif self._device.kind != "cpu":
            peak_bytes = None
        features = self._features(kind, terminal, steps)
        if features is not None:
            self._trainings.observe(features, Measured(memory_bytes=peak_bytes, duration_s=duration_s))
        like = self._seen[kind]
        if duration_s is not None:
            like.tasks += 1
            like.total_s += duration_s
        like.host_bytes[terminal] = max(like.host_bytes.get(terminal, 0), main_bytes)
        if peak_bytes is not None:
            like.peak_bytes[terminal] = max(like.peak_bytes.get(terminal, 0), peak_bytes)

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


def _of(terminal: str, peaks: Mapping[str, int]) -> int | None:
    """The peak of a terminal, else the most of the others; None without any."""
    return peaks.get(terminal, max(peaks.values(), default=None))
