"""Training tasks of a terminal: mutual learning with its intermediate model, and distillation."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.crossbar.noise import weight_noise
from nestevo_hw.evolution.config import MutualConfig, RunConfig
from nestevo_hw.evolution.gate import replay_part
from nestevo_hw.evolution.generator import label_distribution, load_generator
from nestevo_hw.evolution.replay import remembered
from nestevo_hw.evolution.training import Draw, draws, optimise
from nestevo_hw.models.checkpoint import load_model, save_model
from nestevo_hw.streams.augment import mirrored
from nestevo_hw.streams.compression import FACTOR, poolable, pooled_images
from nestevo_hw.streams.frame import Annotation, FrameBatch, shrunk
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.adversarial import SOURCE, TARGET, reversal_strength
from nestevo_hw.tasks.capabilities import (
    AdversarialAdaptation,
    FeatureGeneration,
    MutualLearning,
    require,
    smaller_input,
)
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.supervision import load_supervision
from nestevo_hw.tasks.task import VisionTask

FEATURES_PER_STEP = 32
"""Generated features each prediction module sees in a step of mutual learning."""


def learn_mutually(
    config: RunConfig,
    *,
    terminal: Path,
    intermediate: Path,
    frames: Path,
    supervision: Path,
    reference: Path,
    generator: Path | None,
    counts: Sequence[Mapping[int, int]],
    terminal_out: Path,
    intermediate_out: Path,
    random_name: str,
    device: torch.device,
) -> dict[str, Any]:
    """Train one pair and write both models; returns their mean late loss."""
    task = task_named(config.task)
    (local, local_spec), (mid, mid_spec) = load_model(terminal), load_model(intermediate)
    local, mid = local.to(device), mid.to(device)
    own = load_frames(frames)
    annotations = [s.annotation for s in load_supervision(supervision)]
    random = torch_generator(config.seed, random_name)
    pool, known = _pool(config, annotations), replay_part(load_frames(reference))
    next_batch = _batches(task, config.mutual, own, annotations, known, pool, random, device)
    extra = _generated_loss(task, config, generator, counts, len(mid_spec.classes), (local, mid), random)
    pair = require(task, MutualLearning, f"method {config.method}")

    def step() -> Tensor:
        images, labels, pooled = next_batch()
        with smaller_input(task, [local, mid], FACTOR if pooled else 1):
            losses = pair.mutual_losses(local, mid, images, labels, alpha=config.mutual.alpha, beta=config.mutual.beta)
        return losses[0] + losses[1] + extra()

    def noise() -> AbstractContextManager[None]:
        mu = config.mutual.noise_mu
        return weight_noise(mid, mu, random) if mu else nullcontext()

    began = time.perf_counter()
    with seeded(config.seed, random_name):
        loss = optimise([local, mid], config.mutual.plan, step, perturb=noise)
    trained_s = time.perf_counter() - began
    save_model(local, local_spec, terminal_out)
    save_model(mid, mid_spec, intermediate_out)
    share = sum(pool) / len(pool)
    return {"loss": loss, "steps": config.mutual.plan.steps, "trained_s": trained_s, "pooled_share": share}


def _batches(
    task: VisionTask,
    config: MutualConfig,
    own: FrameBatch,
    annotations: Sequence[Annotation],
    reference: FrameBatch,
    pool: Sequence[bool],
    random: torch.Generator,
    device: torch.device,
) -> Callable[[], tuple[list[Tensor], list[Annotation], bool]]:
    """Batches of a terminal's pseudo-labelled frames, with a few labelled in-domain ones."""
    plan = config.plan
    replayed = min(config.replay_frames, plan.batch_size - 1)
    rest = replace(plan, batch_size=plan.batch_size - replayed)
    fresh = draws(own.images, rest, task.augmentation, random, device, pool=pool)
    known = draws(reference.images, replace(plan, batch_size=max(1, replayed)), task.augmentation, random, device)

    def following() -> tuple[list[Tensor], list[Annotation], bool]:
        draw = next(fresh)
        images, labels = labelled(draw, annotations)
        if replayed and reference.truth is not None:
            old_images, old_labels = labelled(next(known), reference.truth)
            if draw.pooled:
                old_images, old_labels = pooled_images(old_images), [shrunk(a, FACTOR) for a in old_labels]
            images, labels = images + old_images, labels + old_labels
        return images, labels, draw.pooled

    return following


def _pool(config: RunConfig, annotations: Sequence[Annotation]) -> list[bool]:
    """Which frames are trained on at half their size."""
    if not config.compression.enabled:
        return [False] * len(annotations)
    return poolable(annotations, config.compression.small_px)


def labelled(draw: Draw, annotations: Sequence[Annotation]) -> tuple[list[Tensor], list[Annotation]]:
    """Images of a draw with their annotations, mirrored where the image is."""
    width = draw.images[0].shape[-1]
    shown = [shrunk(annotations[r], FACTOR) if draw.pooled else annotations[r] for r in draw.rows]
    return draw.images, [mirrored(a, width) if flip else a for a, flip in zip(shown, draw.flips, strict=True)]


def _generated_loss(
    task: VisionTask,
    config: RunConfig,
    path: Path | None,
    counts: Sequence[Mapping[int, int]],
    classes: int,
    models: tuple[nn.Module, nn.Module],
    random: torch.Generator,
) -> Callable[[], Tensor]:
    """Loss of both prediction modules on generated features with labels of the overall distribution."""
    device = next(models[0].parameters()).device
    if path is None:
        return lambda: torch.zeros((), device=device)
    generator = load_generator(path, config.generator).to(device)
    distribution = label_distribution(counts, classes)
    generating = require(task, FeatureGeneration, "generator.enabled")

    def loss() -> Tensor:
        features, labels = generator.sample(distribution, FEATURES_PER_STEP, random)
        targets = labels - 1 + generating.first_logit
        heads = (generating.prediction_module(model) for model in models)
        return config.generator.weight * torch.stack([F.cross_entropy(h(features), targets) for h in heads]).sum()

    return loss


def distil_terminal(
    config: RunConfig,
    *,
    terminal: Path,
    frames: Path,
    supervision: Path,
    terminal_out: Path,
    steps: int,
    random_name: str,
    device: torch.device,
    soft_share: float | None = None,
    memories: Sequence[tuple[Path, Path]] = (),
) -> dict[str, Any]:
    """Train a terminal on its original frames with a teacher's words and write it; returns its late loss.

    Args:
        config: of the run.
        terminal: checkpoint to start from.
        frames: uploaded frames.
        supervision: words on them.
        terminal_out: checkpoint to write.
        steps: optimiser steps.
        random_name: of the batches and augmentations drawn.
        device: to train on.
        soft_share: weight of soft targets, 0 to 1, where it differs from the configuration's.
        memories: frames and words of earlier windows, oldest first, some of which are replayed (`replay.frames`).
    """
    task = task_named(config.task)
    share = config.distil.soft_share if soft_share is None else soft_share
    student, spec = load_model(terminal)
    student = student.to(device)
    images, words = load_frames(frames).images, load_supervision(supervision)
    earlier = [(load_frames(own).images, load_supervision(said)) for own, said in memories if config.replay.frames]
    old = remembered(earlier, config.replay.frames)
    if old is not None:
        images, words = torch.cat([images, old[0]]), words + old[1]
    plan = replace(config.distil.plan, steps=steps)
    pool = _pool(config, [w.annotation for w in words])
    random = torch_generator(config.seed, random_name)
    batches = draws(images, plan, task.augmentation, random, device, pool=pool)

    def step() -> Tensor:
        draw = next(batches)
        width = draw.images[0].shape[-1]
        said = [words[row].shrunk(FACTOR) if draw.pooled else words[row] for row in draw.rows]
        chosen = [w.mirrored(width) if flip else w for w, flip in zip(said, draw.flips, strict=True)]
        with smaller_input(task, [student], FACTOR if draw.pooled else 1):
            return task.distillation_loss(
                student, draw.images, chosen, temperature=config.distil.temperature, soft_share=share
            )

    began = time.perf_counter()
    with seeded(config.seed, random_name):
        loss = optimise([student], plan, step)
    trained_s = time.perf_counter() - began
    save_model(student, spec, terminal_out)
    return {"loss": loss, "steps": steps, "trained_s": trained_s, "pooled_share": sum(pool) / len(pool)}


def adapt_terminal(
    config: RunConfig,
    *,
    terminal: Path,
    frames: Path,
    reference: Path,
    terminal_out: Path,
    steps: int,
    random_name: str,
    device: torch.device,
) -> dict[str, Any]:
    """Adapt a terminal to its uploaded frames by domain-adversarial training and write it; returns its late loss.

    Half of each batch are labelled in-domain frames, half unlabelled ones of the terminal. At the end the BatchNorm
    statistics are those of the terminal's frames, as training leaves a mixture of both.

    Raises:
        InputError: the in-domain frames have no labels.
    """
    task = task_named(config.task)
    model, spec = load_model(terminal)
    model = model.to(device)
    own, known = load_frames(frames), replay_part(load_frames(reference))
    if known.truth is None:
        raise InputError("adversarial domain adaptation (A1) learns from labelled in-domain frames, and there are none")
    random, half = torch_generator(config.seed, random_name), max(1, config.distil.plan.batch_size // 2)
    plan = replace(config.distil.plan, steps=steps, batch_size=half)
    drifted = draws(own.images, plan, task.augmentation, random, device)
    familiar = draws(known.images, plan, task.augmentation, random, device)
    done = 0
    with seeded(config.seed, random_name):
        adapting = require(task, AdversarialAdaptation, f"method {config.method}")
        classifiers = adapting.domain_classifiers(model, config.adversarial).to(device)

        def step() -> Tensor:
            nonlocal done
            strength, done = reversal_strength(done / steps), done + 1
            loss, source = adapting.source_features(model, *labelled(next(familiar), known.truth or ()))
            target = adapting.target_features(model, next(drifted).images)
            domain = classifiers.loss(source, SOURCE, strength) + classifiers.loss(target, TARGET, strength)
            return loss + config.adversarial.weight * domain

        loss = optimise([model, classifiers], plan, step)
    task.re_estimate(model, own.images)
    save_model(model, spec, terminal_out)
    return {"loss": loss, "steps": steps}
