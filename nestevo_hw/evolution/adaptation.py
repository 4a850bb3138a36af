"""The teacher adapts to its terminals' scenes beside a frozen crossbar: nothing is programmed, digital parts learn.

What learns are scale and shift of BatchNorm, and low-rank side paths of the layers (`models.adapters`), on the frames
of all terminals of a group together: through the crossbar as it is, programmed, aged and noisy, so that what its cells
do to the teacher is compensated on the way. Statistics of BatchNorm are those of each scene, as in labelling.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Annotated

import torch
from torch import Tensor, nn

from nestevo_hw.base.ranges import Range
from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.evolution.learning import Seed, Trained, drawn_supervision
from nestevo_hw.evolution.training import Draw, TrainingPlan, draws, optimise
from nestevo_hw.models.adapters import Adapters
from nestevo_hw.models.batch_norm import norms
from nestevo_hw.tasks.capabilities import ClassLogits, PredictionEntropy, require
from nestevo_hw.tasks.losses import entropy
from nestevo_hw.tasks.supervision import Supervision
from nestevo_hw.tasks.task import VisionTask

LEAST = 12
"""Frames of a scene in a batch, from which BatchNorm can take its statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptersConfig:
    """Digital adapters of the teacher, for `teacher.update = "adapt"`."""

    rank: Annotated[int, Range(0, 256)] = 8
    """Of the side path beside each layer; 0: BatchNorm alone learns from labels, too."""
    labelled: TrainingPlan = TrainingPlan(steps=60, learning_rate=3e-3)
    """Training on the labels of all terminals of a group, each batch of one of them."""
    unlabelled: TrainingPlan = TrainingPlan(steps=100, batch_size=64, learning_rate=1e-2)
    """Training of BatchNorm alone before the first label, where each frame shows one class; each batch of all terminals
    of a group."""


def information_loss(logits: Tensor) -> Tensor:
    """Mean entropy of predictions less the entropy of their mean: low where they are certain and varied.

    Information maximisation (Liang et al., SHOT, ICML 2020). It takes all classes for equally frequent.

    Args:
        logits: (N, C).
    """
    each, mean = logits.softmax(-1), logits.softmax(-1).mean(0)
    return entropy(each).mean() - entropy(mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What a teacher's adaptation came to."""

    trained: Trained
    passes: int
    """Frames that went through it, again and again."""


def adapt_unlabelled(
    task: VisionTask, model: nn.Module, scenes: Sequence[Tensor], plan: TrainingPlan, seed: Seed
) -> Adapted:
    """Train scale and shift of BatchNorm in place by information maximisation.

    Args:
        task: of the model.
        model: gradients pass through it.
        scenes: (N, 3, H, W) uint8 frames of each terminal.
        plan: length and step size; a batch holds frames of every scene.
        seed: of batches and augmentation.
    """
    each = replace(plan, batch_size=max(plan.batch_size // len(scenes), LEAST))
    batches, seeing = _batches(task, model, scenes, each, seed), require(task, ClassLogits, "learning without labels")

    def step() -> Tensor:
        # Scene by scene, so that BatchNorm takes the statistics of each alone.
        return information_loss(torch.cat([seeing.class_logits(model, next(own).images) for own in batches]))

    passes = plan.steps * each.batch_size * len(scenes)
    return Adapted(trained=_train(model, None, plan, step, seed), passes=passes)


def adapt_labelled(
    task: VisionTask,
    model: nn.Module,
    adapters: Adapters,
    scenes: Sequence[Tensor],
    supervision: Sequence[Sequence[Supervision]],
    plan: TrainingPlan,
    seed: Seed,
) -> Adapted:
    """Train scale and shift of BatchNorm and the side paths in place on pseudo-labels.

    Args:
        task: of the model.
        model: gradients pass through it.
        adapters: side paths of its layers, on its device.
        scenes: (N, 3, H, W) uint8 frames of each terminal.
        supervision: of each frame of each terminal.
        plan: length and step size; a batch holds frames of one scene, and scenes take turns.
        seed: of batches and augmentation.
    """
    turns = cycle(zip(_batches(task, model, scenes, plan, seed), supervision, strict=True))

    def step() -> Tensor:
        batches, labels = next(turns)
        draw = next(batches)
        chosen = drawn_supervision(draw, labels)
        return task.distillation_loss(model, draw.images, chosen, temperature=1.0, soft_share=0.0)

    return Adapted(trained=_train(model, adapters, plan, step, seed), passes=plan.steps * plan.batch_size)


def minimise_entropy(task: VisionTask, model: nn.Module, images: Tensor, plan: TrainingPlan, seed: Seed) -> Trained:
    """Train scale and shift of BatchNorm in place until predictions are certain (Wang et al., Tent, ICLR 2021).

    No label and no teacher; statistics of BatchNorm are those of each batch, and at the end of all frames.

    Args:
        task: of the model.
        model: a terminal's.
        images: (N, 3, H, W) uint8 frames that it sees.
        plan: length and step size.
        seed: of batches and augmentation.
    """
    (batches,) = _batches(task, model, [images], plan, seed)
    unsure = require(task, PredictionEntropy, "method Tent")
    trained = _train(model, None, plan, lambda: unsure.prediction_entropy(model, next(batches).images), seed)
    task.re_estimate(model, images)
    return trained


def _batches(
    task: VisionTask, model: nn.Module, scenes: Sequence[Tensor], plan: TrainingPlan, seed: Seed
) -> list[Iterator[Draw]]:
    """Endless batches of each scene."""
    device = norms(model)[0][1].weight.device
    return [
        draws(images, plan, task.augmentation, torch_generator(seed.run, seed.name, number), device)
        for number, images in enumerate(scenes)
    ]


def _train(
    model: nn.Module, adapters: Adapters | None, plan: TrainingPlan, step: Callable[[], Tensor], seed: Seed
) -> Trained:
    """All but BatchNorm and the side paths stays as it is; afterwards nothing is left to learn."""
    model.requires_grad_(requires_grad=False)
    for _, norm in norms(model):
        norm.requires_grad_()
    beside, started = nullcontext() if adapters is None else adapters.beside(model), time.monotonic()
    with seeded(seed.run, seed.name), beside:
        loss = optimise([model] if adapters is None else [model, adapters], plan, step)
    model.requires_grad_(requires_grad=False)
    return Trained(loss=loss, steps=plan.steps, trained_s=time.monotonic() - started)
