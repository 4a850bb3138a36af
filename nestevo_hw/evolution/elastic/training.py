"""The two trainings of a supernet's branches: each learns what its span gives, then what the labels say.

In every step a path is drawn. The base stays as it is, and so does BatchNorm.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.evolution.halfway import Halfway
from nestevo_hw.evolution.learning import labelled
from nestevo_hw.evolution.training import TrainingPlan, draws, optimise
from nestevo_hw.models.elastic.chain import outputs_of
from nestevo_hw.models.elastic.space import BranchPath, PathSpace
from nestevo_hw.models.elastic.supernet import Supernet, as_inputs, through
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.task import VisionTask

Drawing = Literal["branches", "paths"]
"""What is as likely as any other in a step: each new branch, and each path through it, or each path."""


def distil(
    supernet: Supernet, images: Tensor, plan: TrainingPlan, how: Augmentation, *, seed: int, state: Path,
    drawing: Drawing = "paths",
) -> float:  # fmt: skip
    """Train branches to give what the base gives where their spans end, in place.

    Args:
        supernet: on the device to train on.
        images: (N, 3, H, W) uint8; labels are not needed.
        plan: length and step size.
        how: augmentation.
        seed: of paths and batches.
        state: file of the training half-way; it goes on from there.
        drawing: of paths.

    Returns:
        Mean late loss, in units of the features' variance.

    Raises:
        InputError: the state is damaged.
    """
    drawn = torch_generator(seed, "distil")
    halfway = Halfway(state, drawn)
    batches = draws(images, plan, how, drawn, _device(supernet), waiting=halfway.waiting)

    def step() -> Tensor:
        path = path_with_news(supernet.space, drawn, drawing)
        return distillation_loss(supernet, path, torch.stack(next(batches).images))

    with seeded(seed, "distil"):
        return optimise([supernet], plan, step, halfway=halfway, as_in_use=True)


def distillation_loss(supernet: Supernet, path: BranchPath, images: Tensor) -> Tensor:
    """Mean squared distance between what the new blocks of a path give and what the base gives there.

    Each block takes what the path before it gives, so that it learns to make up for that, too. Distances are shares of
    the variance of what the base gives.

    Args:
        supernet: in eval mode.
        path: with a new block at least.
        images: (N, 3, H, W) floats in 0..1.
    """
    names, inputs = supernet.chain.names, as_inputs(supernet.base, images)
    new = [branch for branch in path if not branch.original]
    with torch.no_grad():
        wanted = outputs_of(supernet.base, [names[branch.end - 1] for branch in new], inputs)
    with supernet.on(path) as model:
        given = outputs_of(model, [names[branch.start] for branch in new], inputs)
    losses = [F.mse_loss(own, there) / there.var() for own, there in zip(given, wanted, strict=True)]
    return torch.stack(losses).mean()


def tune(
    task: VisionTask, supernet: Supernet, images: Tensor, truth: Sequence[Annotation], plan: TrainingPlan,
    how: Augmentation, *, seed: int, state: Path, drawing: Drawing = "paths",
) -> float:  # fmt: skip
    """Train branches on labelled frames, each step those of one path, in place; otherwise as `distil`."""
    drawn = torch_generator(seed, "tune")
    halfway = Halfway(state, drawn)
    batches = draws(images, plan, how, drawn, _device(supernet), waiting=halfway.waiting)

    def step() -> Tensor:
        with supernet.on(path_with_news(supernet.space, drawn, drawing)) as model:
            return task.supervised_loss(model, *labelled(next(batches), truth))

    with seeded(seed, "tune"):
        return optimise([supernet], plan, step, halfway=halfway)


def path_with_news(space: PathSpace, generator: torch.Generator, drawing: Drawing) -> BranchPath:
    """A path that is not that of the base; a torch generator's state can be kept."""
    new = [branch for branch in space.branches if not branch.original]
    while True:
        draw = random.Random(int(torch.randint(2**62, (), generator=generator)))
        path = through(space, draw.choice(new), draw) if drawing == "branches" else space.sample(draw)
        if path != space.base:
            return path


def _device(supernet: Supernet) -> torch.device:
    return next(supernet.parameters()).device
