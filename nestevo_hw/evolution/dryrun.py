"""Dry runs of a terminal's training tasks on this machine, for the scheduler's predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nestevo_hw.base.compute import computing_in
from nestevo_hw.base.seeding import seeded
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.profiler.dryrun import measure_step
from nestevo_hw.profiler.gpu_context import target_of
from nestevo_hw.profiler.step_cost import StepCost
from nestevo_hw.profiler.target import GpuMemory, TargetDevice
from nestevo_hw.profiler.training_step import TrainingStep, surrogate_life, surrogate_step
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.capabilities import MutualLearning, SurrogateLoss
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import VisionTask


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Single training steps of a terminal, by kind of training."""

    profiles: Mapping[str, StepCost]
    """Measured on this machine."""
    fake: Mapping[str, TrainingStep]
    """Without arithmetic, for a stored profile; empty without one, or where the task cannot run so."""
    gpu: Mapping[str, GpuMemory] = field(default_factory=dict)
    """Of the whole trainings, by fake runs; empty on a CPU, or where the task cannot run so."""


def dry_run(config: RunConfig, terminal: nn.Module, intermediate: nn.Module | None) -> DryRun:
    """Measure a mutual-learning and a distillation step of a terminal on random frames.

    Args:
        config: of the run.
        terminal: its model, on the device to measure on.
        intermediate: its partner, on the same device; None: it has none, and no mutual learning is measured.
    """
    task, device = task_named(config.task), next(terminal.parameters()).device
    random, precision = torch.Generator().manual_seed(config.seed), config.training.precision
    height, width = config.frame_size
    most = max(config.mutual.plan.batch_size, config.distil.plan.batch_size)
    frames = torch.randint(0, 256, (most, 3, height, width), dtype=torch.uint8, generator=random)
    box = torch.tensor([[0.25 * width, 0.25 * height, 0.5 * width, 0.75 * height]])
    annotations = [Annotation.of(box, torch.tensor([1]))] * most
    supervision = task.label(intermediate or terminal, frames, config.labels)

    def images(count: int) -> list[Tensor]:
        return [frame.to(device).float() / 255 for frame in frames[:count]]

    def distil(count: int) -> Tensor:
        with computing_in(precision, device):
            return task.distillation_loss(
                terminal, images(count), supervision[:count], temperature=config.distil.temperature,
                soft_share=config.soft_share,
            )  # fmt: skip

    models = {"distil": [terminal]}
    with seeded(config.seed, "dry run"):
        # The smaller task first: the largest resident set never shrinks.
        profiles = {"distil": measure_step([terminal], distil, device=device)}
        if intermediate is not None and isinstance(task, MutualLearning):
            losses = task.mutual_losses

            def mutual(count: int) -> Tensor:
                with computing_in(precision, device):
                    pair = losses(terminal, intermediate, images(count), annotations[:count], alpha=0.5, beta=0.5)
                    return torch.stack(pair).sum()

            models["mutual"] = [terminal, intermediate]
            profiles["mutual"] = measure_step(models["mutual"], mutual, device=device)
    return DryRun(
        profiles=profiles,
        fake=_fake_steps(config, task, models) if config.execution.profile is not None else {},
        gpu=gpu_memory(config, task, models, target_of(device)) if device.type == "cuda" else {},
    )


def gpu_memory(
    config: RunConfig, task: VisionTask, models: Mapping[str, Sequence[nn.Module]], target: TargetDevice
) -> dict[str, GpuMemory]:
    """What each kind of training takes of a GPU, by fake runs; none where the task cannot run so."""
    lives = _faked(surrogate_life, config, task, models)
    return {kind: life.memory(target) for kind, life in lives.items()}


def _fake_steps(
    config: RunConfig, task: VisionTask, models: Mapping[str, Sequence[nn.Module]]
) -> dict[str, TrainingStep]:
    """The same steps without arithmetic; none where the task cannot run so."""
    return _faked(surrogate_step, config, task, models)


def _faked[T](
    run: Callable[..., T], config: RunConfig, task: VisionTask, models: Mapping[str, Sequence[nn.Module]]
) -> dict[str, T]:
    """A fake run of each kind of training."""
    if not isinstance(task, SurrogateLoss):
        return {}
    return {
        kind: run(
            task,
            models[kind],
            frame_size=config.frame_size,
            batch_size=batch_size,
            soft_regions=regions,
            precision=config.training.precision,
        )
        for kind, (batch_size, regions) in _fake_sizes(config).items()
        if kind in models
    }


def _fake_sizes(config: RunConfig) -> dict[str, tuple[int, int]]:
    """Batch size and regions with soft targets of each kind of training."""
    regions = config.labels.regions
    return {"distil": (config.distil.plan.batch_size, regions), "mutual": (config.mutual.plan.batch_size, regions)}
