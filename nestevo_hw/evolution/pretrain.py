"""Pre-training of the teacher by day, and of its pruned terminals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import derive_seed, seeded, torch_generator
from nestevo_hw.evolution.learning import labelled
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise
from nestevo_hw.models.checkpoint import ModelSpec, load_model, save_model
from nestevo_hw.models.pruning import PRUNING_RATIOS, prune
from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.task import Task
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import concatenate, load_frames, save_frames
from nestevo_hw.streams.video import VideoStream
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import VisionTask

PLACES = (
    "campus", "village", "downtown", "crossing", "suburb", "station", "market", "harbour", "school", "park",
)  # fmt: skip
"""Kinds of scenery the embedded teacher is trained on, each in many variants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Data and length of the pre-training."""

    task: str = "detection"
    seed: int = 0
    variants: int = 16
    """Sceneries of each place."""
    frames_per_scene: int = 20
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
    training: Path
    held_out: Path
    teacher: Path
    out: Path
    config: PretrainConfig
    device: str


def pretrain(
    spec: ModelSpec,
    training: FrameBatch,
    held_out: FrameBatch,
    out: Path,
    config: PretrainConfig,
    *,
    device: str,
    workers: int,
    on_task: Callable[[Task], None] = lambda _: None,
) -> dict[str, dict[str, float]]:
    """Train a teacher and its three pruned terminals, and write their checkpoints.

    Args:
        spec: of the teacher.
        training: labelled frames to learn from.
        held_out: labelled frames to score on.
        out: folder for ARCHITECTURE.safetensors and ARCHITECTURE-m1 to -m3.
        config: length and seed.
        device: cpu or cuda.
        workers: terminals trained at a time.
        on_task: called with each finished task.

    Returns:
        scores of each checkpoint on the held-out frames, by name and metric.
    """
    frames, test = out / "training-frames.safetensors", out / "held-out-frames.safetensors"
    save_frames(training, frames)
    save_frames(held_out, test)
    common = Job(
        spec=spec,
        variant="",
        training=frames,
        held_out=test,
        teacher=out / f"{spec.architecture}.safetensors",
        out=out / f"{spec.architecture}.safetensors",
        config=config,
        device=device,
    )
    scores: dict[str, dict[str, float]] = {}
    memory, preload = 64 * 10**9, (*DEFAULT_PRELOAD, __name__)
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=memory, workers=workers, preload=preload) as run:
        for variants in (("",), tuple(PRUNING_RATIOS)):
            tasks = [_task(common, variant, out) for variant in variants]
            for name, result in run.run(tasks, on_result=lambda task, _: on_task(task)).items():
                scores[name] = result.value
    for file in (frames, test):
        file.unlink()
    return scores


def _task(common: Job, variant: str, out: Path) -> Task:
    name = terminal_name(common.spec.architecture, variant) if variant else common.spec.architecture
    job = replace(common, variant=variant, out=out / f"{name}.safetensors")
    return Task(
        name=name,
        function=f"{__name__}:train",
        payload=TypeAdapter(Job).dump_python(job, mode="json"),
        memory_bytes=2 * 10**9,
        duration_s=600.0,
    )


def train(payload: dict[str, Any]) -> dict[str, float]:
    """Train what a `Job` says, in a worker."""
    job = TypeAdapter(Job).validate_python(payload)
    device = torch.device(job.device)
    if job.variant:
        return pretrain_terminal(
            job.teacher, job.variant, job.training, job.held_out, job.out, job.config, device=device
        )
    return pretrain_teacher(job.spec, job.training, job.held_out, job.out, job.config, device=device)


def embedded_frames(config: PretrainConfig, size: tuple[int, int]) -> tuple[FrameBatch, FrameBatch, tuple[str, ...]]:
    """Day frames of the embedded streams: to train on, and unseen ones to score on; and the classes."""
    task, training, held_out = task_named(config.task), [], []
    for place in PLACES:
        for variant in range(config.variants):
            seed = derive_seed(config.seed, "pretrain", place, variant)
            stream = task.embedded_stream(name=place, place=place, seed=seed, size=size, role="training")
            training.append(stream.read([k * 67 for k in range(config.frames_per_scene)]))
        seed = derive_seed(config.seed, "held out", place)
        unseen = task.embedded_stream(name=place, place=place, seed=seed, size=size)
        held_out.append(unseen.read([k * 61 for k in range(20)]))
    return concatenate(training), concatenate(held_out), stream.classes


def video_frames(
    video: Path,
    labels: Path,
    class_map: Mapping[str, str],
    *,
    long_side: int,
    until: int | None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> tuple[FrameBatch, FrameBatch, tuple[str, ...]]:
    """Labelled frames of a video before `until`: four fifths to train on, the last fifth to score on; and the classes.

    Raises:
        InputError: the video or its labels cannot be read, or hold too few labelled frames.
    """
    classes = tuple(dict.fromkeys(class_map.values())) or None
    stream = VideoStream(
        name=video.stem, path=video, labels=labels, class_map=class_map, classes=classes, long_side=long_side
    )
    for line in stream.review.warnings if stream.review else ():
        on_warning(line)
    rows = [i for i in stream.labelled_indices if until is None or i < until]
    if len(rows) < 10:
        raise InputError(f"{labels} labels {len(rows)} usable frames of {video}; need at least 10 to train on")
    cut = len(rows) * 4 // 5
    return stream.read(rows[:cut]), stream.read(rows[cut:]), stream.classes


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
    on_step: Callable[[int], None] | None = None,
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
        on_step: called after each step.

    Returns:
        Mean late loss.

    Raises:
        InputError: the frames have no labels.
    """
    truth = frames.truth
    if truth is None:
        raise InputError("pre-training needs labelled frames, but these have no labels")
    batches = draws(frames.images, plan, how, torch_generator(seed, name), device)

    def step() -> Tensor:
        return task.supervised_loss(model, *labelled(next(batches), truth))

    model.to(device)
    with seeded(seed, name):
        return optimise([model], plan, step, on_step=on_step)


def pretrain_teacher(
    spec: ModelSpec,
    training: Path,
    held_out: Path,
    out: Path,
    config: PretrainConfig,
    *,
    device: torch.device,
    on_step: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Train a teacher from scratch on stored frames and write it.

    Returns:
        scores of the written checkpoint on the held-out frames, by metric name.
    """
    with seeded(config.seed, "initialise"):
        model = spec.build()
    task = task_named(config.task)
    train_supervised(
        task, model, load_frames(training), config.teacher, task.augmentation, seed=config.seed, name="teacher",
        device=device, on_step=on_step,
    )  # fmt: skip
    notes = {"seed": str(config.seed), "steps": str(config.teacher.steps)}
    save_model(model.cpu(), spec, out, notes=notes, half=True)
    return score_checkpoint(task, out, held_out)


def pretrain_terminal(
    teacher: Path,
    variant: str,
    training: Path,
    held_out: Path,
    out: Path,
    config: PretrainConfig,
    *,
    device: torch.device,
    on_step: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Prune a teacher, fine-tune the result without photometric augmentation, and write it.

    Raises:
        ConfigError: the variant is not one of m1, m2, m3.
    """
    if variant not in PRUNING_RATIOS:
        raise ConfigError(f"unknown terminal variant {variant!r}; choose from {', '.join(PRUNING_RATIOS)}")
    model, spec = load_model(teacher)
    prune(model, PRUNING_RATIOS[variant])
    task = task_named(config.task)
    train_supervised(
        task, model, load_frames(training), config.terminal, Augmentation(flip=task.augmentation.flip),
        seed=config.seed, name=variant, device=device, on_step=on_step,
    )  # fmt: skip
    notes = {
        "seed": str(config.seed),
        "steps": str(config.terminal.steps),
        "pruning": str(PRUNING_RATIOS[variant]),
    }
    save_model(model.cpu(), spec, out, notes=notes, half=True)
    return score_checkpoint(task, out, held_out)


def score_checkpoint(task: VisionTask, path: Path, frames: Path) -> dict[str, float]:
    """Scores of a stored model on stored labelled frames, the headline first."""
    model, spec = load_model(path)
    batch = load_frames(frames)
    if batch.truth is None:
        raise InputError(f"{frames} has no labels to score against")
    return task.score(task.predict(model, batch.images), batch.truth, len(spec.classes))
