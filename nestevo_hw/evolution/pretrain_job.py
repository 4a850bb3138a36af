"""One training of a pre-training, in a worker: of the teacher, or of a pruned terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from nestevo_hw.base.compute import Precision
from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.base.stats import or_none
from nestevo_hw.evolution.halfway import Halfway
from nestevo_hw.evolution.held_out import HeldOut, note_held_out
from nestevo_hw.evolution.learning import labelled
from nestevo_hw.evolution.patience import Patience
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise
from nestevo_hw.models.checkpoint import ModelSpec, digest, is_checkpoint, load_model, save_model
from nestevo_hw.models.onnx.manifest import sha256
from nestevo_hw.models.pruning import PRUNING_RATIOS, prune
from nestevo_hw.models.state import load_body, load_state
from nestevo_hw.scheduler.task import Task
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import VisionTask, headline


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Data and length of the pre-training."""

    task: str = "detection"
    seed: int = 0
    variants: int = 16
    """Sceneries of each place."""
    frames_per_scene: int = 20
    given: bool = False
    """Whether the teacher keeps the weights that it starts from, untrained."""
    new_classes: bool = False
    """Whether the last layer of what the teacher starts from is left out, since it is for other classes."""
    patience: int | None = None
    """Steps without a better score on held-out frames after which a training ends; None: it goes on to its end."""
    precision: Precision = "float32"
    """Of the products in training."""
    teacher: TrainingPlan = TrainingPlan(steps=3600, learning_rate=2e-3)
    terminal: TrainingPlan = TrainingPlan(steps=600, learning_rate=1e-3)

    @classmethod
    def shipped(cls, task: str, *, seed: int = 0) -> "PretrainConfig":
        """What the shipped checkpoints of a task were made with, up to the seed."""
        plan, shipped = cls(task=task, seed=seed), task_named(task).embedded
        return replace(
            plan,
            teacher=replace(plan.teacher, steps=shipped.teacher_steps),
            terminal=replace(plan.terminal, steps=shipped.terminal_steps),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training of a worker."""

    spec: ModelSpec
    """Of the teacher."""
    variant: str
    """Of the terminal; "" for the teacher."""
    start: Path | None
    """Checkpoint whose weights the teacher starts from."""
    out: Path
    """Folder of the checkpoints."""
    config: PretrainConfig
    device: str
    """cpu, cuda or cuda:N."""

    @property
    def name(self) -> str:
        """Of the checkpoint."""
        return terminal_name(self.spec.name, self.variant) if self.variant else self.spec.name

    @property
    def checkpoint(self) -> Path:
        """File to write."""
        return self.out / f"{self.name}.safetensors"

    @property
    def teacher(self) -> Path:
        """Checkpoint of the teacher."""
        return replace(self, variant="").checkpoint

    @property
    def unfinished(self) -> Path:
        """Folder of what is needed until all checkpoints are there."""
        return self.out / f"{self.spec.name}-unfinished"

    @property
    def frames(self) -> tuple[Path, Path]:
        """Files of the frames to train on and of those to score on."""
        return self.unfinished / "training-frames.safetensors", self.unfinished / "held-out-frames.safetensors"

    @property
    def journal(self) -> Path:
        """File of what has been made, and of all that it depends on."""
        return self.out / f"{self.spec.name}-journal.jsonl"

    @property
    def state(self) -> Path:
        """File of the training half-way."""
        return self.unfinished / f"{self.name}.safetensors"

    @property
    def best(self) -> Path:
        """File of the best weights so far."""
        return self.unfinished / f"{self.name}-best.safetensors"

    @property
    def steps(self) -> int:
        """Most optimiser steps that it takes."""
        plan = self.config.terminal if self.variant else self.config.teacher
        return 0 if self.config.given and not self.variant else plan.steps

    def task(self) -> Task:
        """For an executor."""
        return Task(
            name=self.name,
            function=f"{__name__}:train",
            payload=TypeAdapter(Job).dump_python(self, mode="json"),
            memory_bytes=2 * 10**9,
            duration_s=600.0,
        )


def train(payload: dict[str, Any]) -> dict[str, float | None]:
    """Train what a `Job` says, in a worker.

    Returns:
        scores of the written checkpoint on the held-out frames, by metric; None where there is nothing to find.
    """
    job = TypeAdapter(Job).validate_python(payload)
    if job.variant:
        train_terminal(job)
    else:
        train_teacher(job)
    found = score_checkpoint(task_named(job.config.task), job.checkpoint, job.frames[1], torch.device(job.device))
    scores: dict[str, float | None] = plain(found, nan_to_null=True)
    note_held_out(job.checkpoint, HeldOut(frames=sha256(job.frames[1]), score=or_none(headline(found))))
    return scores


def terminal_name(architecture: str, variant: str) -> str:
    """Name of a pruned variant, such as fasterrcnn-tiny-m1."""
    return f"{architecture}-{variant}"


def train_supervised(
    task: VisionTask,
    model: nn.Module,
    frames: FrameBatch,
    plan: TrainingPlan,
    how: Augmentation,
    *,
    seed: int,
    name: str,
    device: torch.device,
    state: Path,
    patience: Patience | None = None,
    precision: Precision = "float32",
) -> float:
    """Train a model on labelled frames, in place.

    Args:
        task: of the model.
        model: in any mode.
        frames: with truth.
        plan: length and step size.
        how: augmentation.
        seed: of the whole pre-training.
        name: separates the random draws of different trainings under one seed.
        device: where to train.
        state: file of the training half-way; it goes on from there.
        patience: ends it early, and leaves the model with its best weights.
        precision: of the products.

    Returns:
        Mean late loss.

    Raises:
        InputError: the frames have no labels, or the state is damaged.
    """
    truth = frames.truth
    if truth is None:
        raise InputError("pre-training needs labelled frames, but these have no labels")
    random = torch_generator(seed, name)
    halfway = Halfway(state, random)
    batches = draws(frames.images, plan, how, random, device, waiting=halfway.waiting)

    def step() -> Tensor:
        return task.supervised_loss(model, *labelled(next(batches), truth))

    model.to(device)
    with seeded(seed, name):
        loss = optimise(
            [model], plan, step, halfway=halfway, precision=precision,
            enough=lambda done: patience is not None and patience.over(model, done),
        )  # fmt: skip
    if patience is not None:
        patience.restore(model)
    return loss


def started(job: Job) -> nn.Module:
    """A teacher with fresh weights, or those of a checkpoint or a bare state dict of anybody's training.

    Raises:
        InputError: the file cannot be read, or does not fit the model.
        ConfigError: a factory of the user's own fails.
    """
    with seeded(job.config.seed, "initialise"):
        model = job.spec.build()
    if job.start is None:
        return model
    if job.config.new_classes:
        load_body(model, job.start)
    elif is_checkpoint(job.start):
        model.load_state_dict(load_model(job.start)[0].state_dict())
    else:
        load_state(model, job.start)
    return model


def train_teacher(job: Job) -> None:
    """Train a teacher, from fresh weights or those of a checkpoint, and write it."""
    model = started(job)
    notes = {"seed": str(job.config.seed), "steps": str(0 if job.config.given else job.config.teacher.steps)}
    if job.start is not None:
        notes["from"] = digest(model)
    if job.config.given:
        save_model(model, job.spec, job.checkpoint, notes=notes)
        return
    _train_and_save(
        job, model, job.config.teacher, task_named(job.config.task).augmentation, name="teacher", notes=notes
    )


def train_terminal(job: Job) -> None:
    """Prune a teacher, fine-tune the result without photometric augmentation, and write it."""
    ratio = PRUNING_RATIOS[job.variant]
    model, _ = load_model(job.teacher)
    height, width = load_frames(job.frames[1]).images.shape[2:]
    prune(model, ratio, (height, width))
    how = Augmentation(flip=task_named(job.config.task).augmentation.flip)
    notes = {"seed": str(job.config.seed), "steps": str(job.config.terminal.steps), "pruning": str(ratio)}
    _train_and_save(job, model, job.config.terminal, how, name=job.variant, notes=notes)


def _train_and_save(
    job: Job, model: nn.Module, plan: TrainingPlan, how: Augmentation, *, name: str, notes: Mapping[str, str]
) -> None:
    task, patience = task_named(job.config.task), None
    if job.config.patience is not None:
        held_out, classes = load_frames(job.frames[1]), len(job.spec.classes)

        def score(now: nn.Module) -> float:
            return headline(task.score(task.predict(now, held_out.images), held_out.truth or (), classes))

        patience = Patience(job.best, job.config.patience, score)
    train_supervised(
        task, model, load_frames(job.frames[0]), plan, how,
        seed=job.config.seed, name=name, device=torch.device(job.device), state=job.state, patience=patience,
        precision=job.config.precision,
    )  # fmt: skip
    save_model(model.cpu(), job.spec, job.checkpoint, notes=notes, half=True)


def score_checkpoint(task: VisionTask, path: Path, frames: Path, device: torch.device) -> dict[str, float]:
    """Scores of a stored model on stored labelled frames, computed on a device; the headline first."""
    model, spec = load_model(path)
    model.to(device)
    batch = load_frames(frames)
    if batch.truth is None:
        raise InputError(f"{frames} has no labels to score against")
    return task.score(task.predict(model, batch.images), batch.truth, len(spec.classes))
