"""Training of one terminal: mutual learning with its intermediate model, distillation, adversarial adaptation.

Everything here computes on models, frames and supervision; reading and writing files is for the steps.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.compute import Precision
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.crossbar.noise import weight_noise
from nestevo_hw.evolution.generator import FeatureGenerator
from nestevo_hw.evolution.training import Draw, TrainingPlan, draws, optimise
from nestevo_hw.streams.augment import mirrored
from nestevo_hw.streams.compression import FACTOR, CompressionConfig, poolable, pooled_images
from nestevo_hw.streams.frame import Annotation, FrameBatch, shrunk
from nestevo_hw.tasks.adversarial import SOURCE, TARGET, AdversarialConfig, reversal_strength
from nestevo_hw.tasks.capabilities import (
    AdversarialAdaptation,
    FeatureGeneration,
    MutualLearning,
    require,
    smaller_input,
)
from nestevo_hw.tasks.supervision import Supervision
from nestevo_hw.tasks.task import VisionTask

FEATURES_PER_STEP = 32
"""Generated features each prediction module sees in a step of mutual learning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualConfig:
    """Mutual learning of a terminal and its intermediate model (eq. 14, 15, 18-20)."""

    plan: TrainingPlan = TrainingPlan(steps=40)
    alpha: Annotated[float, SHARE] = 0.7
    """Share of the labels in the terminal's loss."""
    beta: Annotated[float, SHARE] = 0.7
    """Share of the labels in the intermediate model's loss."""
    noise_mu: Annotated[float, SHARE] = 0.02
    """Weight noise of the intermediate model in training, of its weights' range; 0 turns it off."""
    replay_frames: Annotated[int, Range(0, 1000)] = 2
    """Labelled in-domain frames in each batch, against forgetting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilConfig:
    """Distillation of the teacher into a terminal."""

    plan: TrainingPlan = TrainingPlan(steps=40)
    temperature: Annotated[float, Range(0.01, 1000)] = 2.0
    soft_share: Annotated[float, SHARE] = 0.5
    """Weight of soft targets against pseudo-labels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """Where a training's random draws come from."""

    run: int
    """Seed of the run."""
    name: str
    """Of the training; others under the same seed draw other numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to."""

    loss: float
    """Mean of the last quarter of the steps."""
    steps: int
    trained_s: float
    """Time of the optimiser steps, seconds."""
    pooled_share: float = 0.0
    """Share of the frames that were trained on at half their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedFeatures:
    """Features with which both prediction modules of a pair train beside their own frames (Algorithm 1)."""

    generator: FeatureGenerator
    distribution: Tensor
    """(C,) shares of each class over all terminals of the group."""
    weight: float
    """Of their loss."""


def learn_mutually(
    task: VisionTask,
    terminal: nn.Module,
    intermediate: nn.Module,
    *,
    frames: FrameBatch,
    annotations: Sequence[Annotation],
    familiar: FrameBatch,
    generated: GeneratedFeatures | None,
    config: MutualConfig,
    compression: CompressionConfig,
    seed: Seed,
    precision: Precision = "float32",
) -> Trained:
    """Train a terminal and its intermediate model on the same pseudo-labels and on each other (eq. 14, 15, 18-20).

    Args:
        task: of both models.
        terminal: trained in place, on its own device.
        intermediate: trained in place under weight noise, on the same device.
        frames: uploaded ones.
        annotations: pseudo-labels, one a frame.
        familiar: labelled in-domain frames, a few of which are in each batch, against forgetting.
        generated: features for both prediction modules; None without a generator.
        config: plan, shares of the labels, noise.
        compression: which frames are trained on at half their size.
        seed: of batches, augmentation, noise and generated features.
        precision: of the products.
    """
    random = torch_generator(seed.run, seed.name)
    device = next(terminal.parameters()).device
    pool = _pool(compression, annotations)
    next_batch = _batches(task, config, frames, annotations, familiar, pool, random, device)
    pair = require(task, MutualLearning, "mutual learning")

    def step() -> Tensor:
        images, labels, pooled = next_batch()
        with smaller_input(task, [terminal, intermediate], FACTOR if pooled else 1):
            losses = pair.mutual_losses(terminal, intermediate, images, labels, alpha=config.alpha, beta=config.beta)
        loss = losses[0] + losses[1]
        return loss if generated is None else loss + _generated_loss(task, generated, (terminal, intermediate), random)

    noisy = random if device.type == "cpu" else torch_generator(seed.run, seed.name, "noise", device=device)

    def noise() -> AbstractContextManager[None]:
        return weight_noise(intermediate, config.noise_mu, noisy) if config.noise_mu else nullcontext()

    began = time.perf_counter()
    with seeded(seed.run, seed.name):
        loss = optimise([terminal, intermediate], config.plan, step, perturb=noise, precision=precision)
    return Trained(
        loss=loss,
        steps=config.plan.steps,
        trained_s=time.perf_counter() - began,
        pooled_share=sum(pool) / len(pool),
    )


def _batches(
    task: VisionTask,
    config: MutualConfig,
    own: FrameBatch,
    annotations: Sequence[Annotation],
    familiar: FrameBatch,
    pool: Sequence[bool],
    random: torch.Generator,
    device: torch.device,
) -> Callable[[], tuple[list[Tensor], list[Annotation], bool]]:
    """Batches of a terminal's pseudo-labelled frames, with a few labelled in-domain ones where there are any."""
    plan, truth = config.plan, familiar.truth
    replayed = 0 if truth is None else min(config.replay_frames, plan.batch_size - 1)
    rest = replace(plan, batch_size=plan.batch_size - replayed)
    fresh = draws(own.images, rest, task.augmentation, random, device, pool=pool)
    known = draws(familiar.images, replace(plan, batch_size=max(1, replayed)), task.augmentation, random, device)

    def following() -> tuple[list[Tensor], list[Annotation], bool]:
        draw = next(fresh)
        images, labels = labelled(draw, annotations)
        if replayed and truth is not None:
            old_images, old_labels = labelled(next(known), truth)
            if draw.pooled:
                old_images = list(pooled_images(torch.stack(old_images)))
                old_labels = [shrunk(a, FACTOR) for a in old_labels]
            images, labels = images + old_images, labels + old_labels
        return images, labels, draw.pooled

    return following


def _pool(config: CompressionConfig, annotations: Sequence[Annotation]) -> list[bool]:
    """Which frames are trained on at half their size."""
    if not config.enabled:
        return [False] * len(annotations)
    return poolable(annotations, config.small_px)


def labelled(draw: Draw, annotations: Sequence[Annotation]) -> tuple[list[Tensor], list[Annotation]]:
    """Images of a draw with their annotations, mirrored where the image is."""
    width = draw.images[0].shape[-1]
    shown = [shrunk(annotations[r], FACTOR) if draw.pooled else annotations[r] for r in draw.rows]
    return draw.images, [mirrored(a, width) if flip else a for a, flip in zip(shown, draw.flips, strict=True)]


def _generated_loss(
    task: VisionTask, generated: GeneratedFeatures, models: Sequence[nn.Module], random: torch.Generator
) -> Tensor:
    """Loss of both prediction modules on generated features with labels of the overall distribution."""
    features, labels = generated.generator.sample(generated.distribution, FEATURES_PER_STEP, random)
    features_of = require(task, FeatureGeneration, "the feature generator")
    targets = labels - 1 + features_of.first_logit
    losses = [F.cross_entropy(features_of.prediction_module(model)(features), targets) for model in models]
    return generated.weight * torch.stack(losses).sum()


def distil(
    task: VisionTask,
    student: nn.Module,
    images: Tensor,
    supervision: Sequence[Supervision],
    *,
    plan: TrainingPlan,
    temperature: float,
    soft_share: float,
    compression: CompressionConfig,
    seed: Seed,
    precision: Precision = "float32",
) -> Trained:
    """Train a terminal on frames with a teacher's pseudo-labels and soft targets.

    Args:
        task: of the student.
        student: trained in place, on its own device.
        images: (N, 3, H, W) uint8.
        supervision: of each frame.
        plan: length and step size.
        temperature: of the soft targets.
        soft_share: weight of soft targets against pseudo-labels, 0 to 1.
        compression: which frames are trained on at half their size.
        seed: of batches and augmentation.
        precision: of the products.
    """
    pool = _pool(compression, [s.annotation for s in supervision])
    random = torch_generator(seed.run, seed.name)
    device = next(student.parameters()).device
    batches = draws(images, plan, task.augmentation, random, device, pool=pool)

    def step() -> Tensor:
        draw = next(batches)
        chosen = drawn_supervision(draw, supervision)
        with smaller_input(task, [student], FACTOR if draw.pooled else 1):
            return task.distillation_loss(student, draw.images, chosen, temperature=temperature, soft_share=soft_share)

    began = time.perf_counter()
    with seeded(seed.run, seed.name):
        loss = optimise([student], plan, step, precision=precision)
    return Trained(
        loss=loss, steps=plan.steps, trained_s=time.perf_counter() - began, pooled_share=sum(pool) / len(pool)
    )


def drawn_supervision(draw: Draw, supervision: Sequence[Supervision]) -> list[Supervision]:
    """Supervision of the frames of a batch as they are in it: mirrored, and at half the size."""
    width = draw.images[0].shape[-1]
    own = [supervision[r].shrunk(FACTOR) if draw.pooled else supervision[r] for r in draw.rows]
    return [s.mirrored(width) if flip else s for s, flip in zip(own, draw.flips, strict=True)]


def adapt_adversarially(
    task: VisionTask,
    model: nn.Module,
    *,
    drifted: Tensor,
    familiar: FrameBatch,
    plan: TrainingPlan,
    config: AdversarialConfig,
    seed: Seed,
    precision: Precision = "float32",
) -> Trained:
    """Adapt a terminal to its uploaded frames by domain-adversarial training (baseline A1), without any teacher.

    Half of each batch are labelled in-domain frames, half unlabelled ones of the terminal. At the end the BatchNorm
    statistics are those of the terminal's frames, as training leaves a mixture of both.

    Args:
        task: of the model.
        model: trained in place, on its own device.
        drifted: (N, 3, H, W) uint8 frames of the terminal.
        familiar: labelled in-domain frames.
        plan: length and step size; its batch size counts both halves.
        config: weight of the domain loss.
        seed: of batches, augmentation and the domain classifiers' first weights.
        precision: of the products.

    Raises:
        InputError: the in-domain frames have no labels.
    """
    truth = familiar.truth
    if truth is None:
        raise InputError("adversarial domain adaptation (A1) learns from labelled in-domain frames, and there are none")
    adaptation = require(task, AdversarialAdaptation, "adversarial domain adaptation (A1)")
    random, device = torch_generator(seed.run, seed.name), next(model.parameters()).device
    half = replace(plan, batch_size=max(1, plan.batch_size // 2))
    other = draws(drifted, half, task.augmentation, random, device)
    known = draws(familiar.images, half, task.augmentation, random, device)
    began, done = time.perf_counter(), 0
    with seeded(seed.run, seed.name):
        classifiers = adaptation.domain_classifiers(model, config).to(device)

        def step() -> Tensor:
            nonlocal done
            strength, done = reversal_strength(done / plan.steps), done + 1
            loss, view = adaptation.source_features(model, *labelled(next(known), truth))
            unlabelled = adaptation.target_features(model, next(other).images)
            domain = classifiers.loss(view, SOURCE, strength) + classifiers.loss(unlabelled, TARGET, strength)
            return loss + config.weight * domain

        loss = optimise([model, classifiers], half, step, precision=precision)
    task.re_estimate(model, drifted)
    return Trained(loss=loss, steps=plan.steps, trained_s=time.perf_counter() - began)
