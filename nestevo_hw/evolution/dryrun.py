"""Dry runs of a terminal's training tasks on this machine, for the scheduler's predictions."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.documents import plain
from nestevo_hw.base.seeding import seeded
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.profiler.dryrun import profile_step
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.task import VisionTask, task_named


def dry_run(config: RunConfig, *, terminal: Path, intermediate: Path, device: torch.device) -> dict[str, Any]:
    """Profile a mutual-learning and a distillation step of a terminal on random frames.

    Returns:
        For each kind of task a `StepProfile` document.
    """
    task = task_named(config.task)
    (local, _), (mid, _) = load_model(terminal), load_model(intermediate)
    local, mid = local.to(device), mid.to(device)
    random = torch.Generator().manual_seed(config.seed)
    height, width = config.frame_size
    most = max(config.mutual.plan.batch_size, config.distil.plan.batch_size)
    frames = torch.randint(0, 256, (most, 3, height, width), dtype=torch.uint8, generator=random)
    box = torch.tensor([[0.25 * width, 0.25 * height, 0.5 * width, 0.75 * height]])
    annotations = [Annotation.of(box, torch.tensor([1]))] * most
    words = task.label(mid, frames, config.labels)

    def images(count: int) -> list[Tensor]:
        return [frame.to(device).float() / 255 for frame in frames[:count]]

    def distil(count: int) -> Tensor:
        settings = config.distil
        return task.distillation_loss(
            local, images(count), words[:count], temperature=settings.temperature, soft_share=settings.soft_share
        )

    def mutual(count: int) -> Tensor:
        return torch.stack(
            task.mutual_losses(local, mid, images(count), annotations[:count], alpha=0.5, beta=0.5)
        ).sum()

    with seeded(config.seed, "dry run"):
        # The smaller task first: the largest resident set never shrinks.
        found = {
            "distil": plain(profile_step([local], distil, device=device)),
            "mutual": plain(profile_step([local, mid], mutual, device=device)),
        }
    if config.execution.profile is not None:
        found["fake"] = _fake_steps(config, task, local, mid)
    return found


def _fake_steps(config: RunConfig, task: VisionTask, local: nn.Module, mid: nn.Module) -> dict[str, Any]:
    """The same steps without arithmetic, for a stored profile; those that the task cannot run so are left out."""
    kinds = {"distil": (config.distil.plan, [local]), "mutual": (config.mutual.plan, [local, mid])}
    steps = {
        kind: task.fake_step(
            models, frame_size=config.frame_size, batch_size=plan.batch_size, soft_regions=config.labels.regions
        )
        for kind, (plan, models) in kinds.items()
    }
    return {kind: plain(step) for kind, step in steps.items() if step is not None}
