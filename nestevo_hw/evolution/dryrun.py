"""Dry runs of a terminal's training tasks on this machine, for the scheduler's predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nestevo_hw.base.seeding import seeded
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.profiler.dryrun import profile_step
from nestevo_hw.profiler.features import StepProfile
from nestevo_hw.profiler.vector import StepTask
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.task import VisionTask, task_named


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Single training steps of a terminal, by kind of training."""

    profiles: Mapping[str, StepProfile]
    """Measured on this machine."""
    fake: Mapping[str, StepTask]
    """Without arithmetic, for a stored profile; empty without one, or where the task cannot run so."""


def dry_run(config: RunConfig, terminal: nn.Module, intermediate: nn.Module) -> DryRun:
    """Measure a mutual-learning and a distillation step of a terminal on random frames.

    Args:
        config: of the run.
        terminal: its model, on the device to measure on.
        intermediate: its partner, on the same device.
    """
    task, device = task_named(config.task), next(terminal.parameters()).device
    random = torch.Generator().manual_seed(config.seed)
    height, width = config.frame_size
    most = max(config.mutual.plan.batch_size, config.distil.plan.batch_size)
    frames = torch.randint(0, 256, (most, 3, height, width), dtype=torch.uint8, generator=random)
    box = torch.tensor([[0.25 * width, 0.25 * height, 0.5 * width, 0.75 * height]])
    annotations = [Annotation.of(box, torch.tensor([1]))] * most
    supervision = task.label(intermediate, frames, config.labels)

    def images(count: int) -> list[Tensor]:
        return [frame.to(device).float() / 255 for frame in frames[:count]]

    def distil(count: int) -> Tensor:
        return task.distillation_loss(
            terminal, images(count), supervision[:count], temperature=config.distil.temperature,
            soft_share=config.distil.soft_share,
        )  # fmt: skip

    def mutual(count: int) -> Tensor:
        losses = task.mutual_losses(terminal, intermediate, images(count), annotations[:count], alpha=0.5, beta=0.5)
        return torch.stack(losses).sum()

    with seeded(config.seed, "dry run"):
        # The smaller task first: the largest resident set never shrinks.
        profiles = {
            "distil": profile_step([terminal], distil, device=device),
            "mutual": profile_step([terminal, intermediate], mutual, device=device),
        }
    stored = config.execution.profile is not None
    return DryRun(profiles=profiles, fake=_fake_steps(config, task, terminal, intermediate) if stored else {})


def _fake_steps(
    config: RunConfig, task: VisionTask, terminal: nn.Module, intermediate: nn.Module
) -> dict[str, StepTask]:
    """The same steps without arithmetic; those that the task cannot run so are left out."""
    kinds = {"distil": (config.distil.plan, [terminal]), "mutual": (config.mutual.plan, [terminal, intermediate])}
    steps = {}
    for kind, (plan, models) in kinds.items():
        step = task.fake_step(
            models, frame_size=config.frame_size, batch_size=plan.batch_size, soft_regions=config.labels.regions
        )
        if step is not None:
            # The order of allocations is long, and nothing reads it here.
            steps[kind] = replace(step, work=replace(step.work, held_sizes=(), events=()))
    return steps
