"""Fake runs of a training, from the task and the models that will learn: a step for a profile, a life for a GPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nestevo_hw.base.compute import Precision
from nestevo_hw.profiler.fake_run import Optimiser, StepWork, fake_copies, fake_step
from nestevo_hw.profiler.gpu_life import GpuLife, gpu_life
from nestevo_hw.tasks.capabilities import SurrogateLoss


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """A training step to predict."""

    work: StepWork
    batch_size: int
    pixels: int
    """Of one frame as the network sees it."""
    bfloat16: bool = False
    gpu_bytes: int | None = None
    """All that the training takes of a GPU by a fake run of its life; None on a CPU."""

    @property
    def memory_bytes(self) -> int:
        """Peak by the fake run: of tensors on a CPU, of everything on a GPU."""
        return self.work.peak_bytes if self.gpu_bytes is None else self.gpu_bytes


def surrogate_step(
    task: SurrogateLoss,
    models: Sequence[nn.Module],
    *,
    frame_size: tuple[int, int],
    batch_size: int,
    soft_regions: int = 0,
    optimiser: Optimiser = "adamw",
    precision: Precision = "float32",
) -> TrainingStep:
    """Fake run of one step; about a second, no memory, and the models stay as they are.

    Args:
        task: of the models; its surrogate loss is run.
        models: one model, or terminal and intermediate model that learn from one another.
        frame_size: (H, W) of the frames, pixels.
        batch_size: frames a step.
        soft_regions: regions a frame on which a single model also learns a teacher's soft targets.
        optimiser: of the training.
        precision: of the training.
    """
    loss = _surrogate(task, frame_size, batch_size, soft_regions)
    work = fake_step(fake_copies(models), loss, optimiser=optimiser, precision=precision)
    pixels = frame_size[0] * frame_size[1]
    return TrainingStep(work=work, batch_size=batch_size, pixels=pixels, bfloat16=precision == "bfloat16")


def surrogate_life(
    task: SurrogateLoss,
    models: Sequence[nn.Module],
    *,
    frame_size: tuple[int, int],
    batch_size: int,
    soft_regions: int = 0,
    precision: Precision = "float32",
) -> GpuLife:
    """Fake run of a training's first steps with AdamW, as a GPU's allocator sees them; see `surrogate_step`."""
    loss = _surrogate(task, frame_size, batch_size, soft_regions)
    return gpu_life(fake_copies(models), loss, precision=precision)


def _surrogate(
    task: SurrogateLoss, frame_size: tuple[int, int], batch_size: int, soft_regions: int
) -> Callable[[Sequence[nn.Module]], Tensor]:
    def loss(copies: Sequence[nn.Module]) -> Tensor:
        images = [torch.rand(3, *frame_size) for _ in range(batch_size)]
        return task.surrogate_loss(copies, images, soft_regions=soft_regions)

    return loss
