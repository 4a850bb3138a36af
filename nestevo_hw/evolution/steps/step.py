"""What a step of the loop is: a function from a typed request to a typed result, and what is known of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from nestevo_hw.base.compute import device_of_worker, resolved
from nestevo_hw.crossbar.devices import DIGITAL
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.learning import Seed
from nestevo_hw.evolution.refresh import Programming
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.evolution.teacher import LearningTeacher, TeacherFiles, open_teacher, open_to_learn
from nestevo_hw.evolution.teaching import teaching_of
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.checkpoint import ModelSpec, load_model
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import Teaching, VisionTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every step is told. Files travel as paths, so that a task can run in any worker that sees the run folder."""

    steps: int | None = None
    """Optimiser steps, where they differ from the plan of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What every step reports, for the accounting of time."""

    crossbar_frames: int | None = None
    """Frames that went through the crossbar; None where it had no part."""
    beside_s: float = 0.0
    """Training beside the crossbar in such a step, measured with the simulation of what passes through it, seconds."""
    programming: Programming | None = None
    """What a step that wrote a teacher onto the crossbar cost; modelled."""
    download_bytes: int = 0
    """What the terminal has to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a task knows beside its request."""

    id: TaskId
    config: RunConfig

    @property
    def task(self) -> VisionTask:
        """The run's vision task."""
        return task_named(self.config.task)

    @property
    def teaching(self) -> Teaching:
        """The verbs for the run's teacher."""
        return teaching_of(self.config)

    @property
    def seed(self) -> Seed:
        """Of the task's random draws."""
        return Seed(run=self.config.seed, name=str(self.id))

    @property
    def device(self) -> torch.device:
        """Where models compute."""
        execution = self.config.execution
        if execution.executor == "inline":  # the run's own process sees all GPUs
            return resolved(execution.device)
        return device_of_worker(execution.device)

    def load(self, path: Path) -> tuple[nn.Module, ModelSpec]:
        """A model that computes on the run's device, in eval mode."""
        return load_model(path, self.device)

    def images(self, path: Path) -> Tensor:
        """(N, 3, H, W) uint8 frames of a file, on the run's device."""
        return load_frames(path).images.to(self.device)

    def open_teacher(self, files: TeacherFiles, scene: Tensor | None) -> nn.Module:
        """The teacher ready to label on the run's device; see `nestevo_hw.evolution.teacher.open_teacher`."""
        return open_teacher(self.teaching, self.config.teacher, files, scene, device=self.device)

    def open_to_learn(self, files: TeacherFiles) -> LearningTeacher:
        """See `nestevo_hw.evolution.teacher.open_to_learn`."""
        return open_to_learn(self.config.teacher, files, device=self.device)

    @property
    def analog(self) -> bool:
        """Whether the teacher is on a crossbar."""
        return self.config.teacher.analog != DIGITAL

    def on_crossbar(self, frames: int) -> int | None:
        """How many frames a step sent through the crossbar; None with a digital teacher."""
        return frames if self.analog else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step[Q: Request, R: Result]:
    """One line of the table of steps."""

    kind: str
    """Names its tasks."""
    run: Callable[[Context, Q], R]
    request: type[Q]
    result: type[R]
    needs: Literal["cpu", "gpu", "crossbar"]
    """What it computes on: gpu is the run's device, crossbar the teacher's tiles, which that device simulates."""
    wording: str
    """What it does, for legends and tables."""
    colour: str
    """Attribute of `pages.style.Palette`."""
    part: Literal["labelling", "training"] = "training"
    """Of the evolution delay that its time counts as, where it ran on no crossbar."""
    per: Literal["terminal", "group"] = "terminal"
    priority: int = 0
    """Of steps that run side by side the higher goes first, here the longer: all of them are waited for."""
    trains: bool = False
    """Whether it runs backward passes through whole models without such a plan."""
    plan: Callable[[RunConfig], TrainingPlan] | None = None
    """Length of a training whose cost a dry run predicts."""
    typical_s: float
    """Measured once on one core with the embedded default, seconds; for simulated runs."""
    typical: Callable[[Q], R]
    """What a measured run returned, or its like; for simulated runs."""
