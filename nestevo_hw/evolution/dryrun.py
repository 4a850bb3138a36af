"""One training step of each kind on this machine, to predict what whole tasks will cost."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nestevo_hw.config import RunConfig
from nestevo_hw.evolution.training import TrainingPlan, optimise
from nestevo_hw.models.checkpoint import load_detector
from nestevo_hw.seeding import seeded
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.detection import mutual_losses
from nestevo_hw.tasks.supervision import distillation_loss, supervise

STEPS = 3
"""The first step of a process allocates; the others are timed."""


def dry_run(config: RunConfig, *, terminal: Path, intermediate: Path, device: torch.device) -> dict[str, Any]:
    """Measure a mutual-learning and a distillation step on random frames.

    Returns:
        For each kind: seconds a step, seconds before the first, and bytes by which the process's largest resident set
        grew (on a CPU; on a GPU the largest reserved memory).
    """
    began = time.perf_counter()
    (local, _), (mid, _) = load_detector(terminal), load_detector(intermediate)
    local, mid = local.to(device), mid.to(device)
    random = torch.Generator().manual_seed(config.seed)
    size = (config.mutual.plan.batch_size, 3, *config.frame_size)
    frames = torch.randint(0, 256, size, dtype=torch.uint8, generator=random)
    images = [frame.to(device).float() / 255 for frame in frames]
    height, width = config.frame_size
    box = torch.tensor([[0.25 * width, 0.25 * height, 0.5 * width, 0.75 * height]])
    annotations = [Annotation.of(box, torch.tensor([1]))] * len(images)
    words = supervise(mid, frames, config.labels)
    share = config.distil.soft_share

    def distil() -> Tensor:
        return distillation_loss(local, images, words, temperature=config.distil.temperature, soft_share=share)

    def mutual() -> Tensor:
        return torch.stack(mutual_losses(local, mid, images, annotations, alpha=0.5, beta=0.5)).sum()

    setup_s = time.perf_counter() - began
    with seeded(config.seed, "dry run"):
        # The smaller task first: the largest resident set never shrinks.
        return {
            "distil": {"setup_s": setup_s, **_measure([local], distil, device)},
            "mutual": {"setup_s": setup_s, **_measure([local, mid], mutual, device)},
        }


def _measure(models: list[torch.nn.Module], loss: Callable[[], Tensor], device: torch.device) -> dict[str, float]:
    times: list[float] = []
    plan = TrainingPlan(steps=STEPS, learning_rate=1e-9)
    optimise(models, plan, loss, on_step=lambda _: times.append(time.perf_counter()))
    return {"step_s": (times[-1] - times[0]) / (STEPS - 1), "memory_bytes": _peak_bytes(device)}


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
