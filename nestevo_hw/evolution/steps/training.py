"""Steps that train: generator, pairs of terminal and intermediate model, terminals."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.evolution.adaptation import minimise_entropy
from nestevo_hw.evolution.dryrun import DryRun, dry_run
from nestevo_hw.evolution.gate import replay_part
from nestevo_hw.evolution.generator import (
    FeatureGenerator,
    GeneratorEffect,
    class_moments,
    generator_effect,
    label_distribution,
    load_generator,
    save_generator,
    train_generator,
)
from nestevo_hw.evolution.learning import GeneratedFeatures, Trained, adapt_adversarially, distil, learn_mutually
from nestevo_hw.evolution.replay import replayed
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.evolution.zoo import choose_start
from nestevo_hw.models.batch_norm import batch_norm_bytes
from nestevo_hw.models.checkpoint import save_model
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.capabilities import FeatureGeneration, require
from nestevo_hw.tasks.supervision import Supervision, labelled_features, load_supervision

Counts = tuple[Mapping[int, int], ...]
"""Labelled objects by class, of each terminal of a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunRequest(Request):
    """A terminal's model, and the teacher that its intermediate model starts from, if that can be trained."""

    terminal: Path
    intermediate: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunResult(Result):
    """What single steps of a terminal's trainings took."""

    dry_run: DryRun


def profile(context: Context, request: DryRunRequest) -> DryRunResult:
    """Dry run of one training step of each kind with a terminal's own model, for the scheduler's predictions."""
    terminal, _ = context.load(request.terminal)
    intermediate = None if request.intermediate is None else context.load(request.intermediate)[0]
    return DryRunResult(dry_run=dry_run(context.config, terminal, intermediate))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest(Request):
    """What the generator of a group learns from."""

    intermediates: tuple[Path, ...]
    """Models whose prediction modules judge its features."""
    counts: Counts
    supervision: tuple[Path, ...]
    generator: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResult(Result):
    """What the generator came to."""

    label_loss: float
    effect: GeneratorEffect


def generate(context: Context, request: GenerateRequest) -> GenerateResult:
    """Train the feature generator on the prediction modules of the intermediate models (Algorithm 1)."""
    config, seed = context.config, context.seed
    features = require(context.task, FeatureGeneration, "the feature generator")
    modules: list[nn.Module] = []
    for path in request.intermediates:
        model, spec = context.load(path)
        modules.append(features.prediction_module(model).requires_grad_(False))
    learned = context.config.deployment.taught_of
    described = [labelled_features(learned(load_supervision(path))) for path in request.supervision]
    own, labels = [own for own, _ in described], torch.cat([labels for _, labels in described])
    with seeded(seed.run, seed.name):
        generator = FeatureGenerator(config.generator, *class_moments(torch.cat(own), labels, len(spec.classes)))
    generator.to(context.device)
    random = torch_generator(seed.run, seed.name)
    loss = train_generator(
        generator, modules, request.counts, config.generator, random, first_logit=features.first_logit
    )
    save_generator(generator, request.generator)
    share = config.generator.weight / (1 + config.generator.weight)
    return GenerateResult(label_loss=loss, effect=generator_effect(generator, request.counts, own, share, random))


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualRequest(Request):
    """A terminal and its intermediate model, and what they learn from."""

    terminal: Path
    intermediate: Path
    upload: Path
    supervision: Path
    reference: Path
    generator: Path | None
    counts: Counts
    terminal_out: Path
    intermediate_out: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult(Result):
    """What a training came to."""

    trained: Trained


def mutual(context: Context, request: MutualRequest) -> TrainingResult:
    """A terminal and its intermediate model learn from the labels and from each other (eq. 14, 15)."""
    config = context.config
    (local, local_spec), (mid, mid_spec) = context.load(request.terminal), context.load(request.intermediate)
    generated = None
    if request.generator is not None:
        generated = GeneratedFeatures(
            generator=load_generator(request.generator, config.generator).to(context.device),
            distribution=label_distribution(request.counts, len(mid_spec.classes)),
            weight=config.generator.weight,
        )
    frames, supervision = _taught(context, request)
    trained = learn_mutually(
        context.task,
        local,
        mid,
        frames=frames,
        annotations=[s.annotation for s in supervision],
        familiar=replay_part(load_frames(request.reference)),
        generated=generated,
        config=config.mutual,
        compression=config.compression,
        seed=context.seed,
        precision=config.training.precision,
    )
    save_model(local, local_spec, request.terminal_out)
    save_model(mid, mid_spec, request.intermediate_out)
    return TrainingResult(trained=trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseRequest(Request):
    """Models that a terminal may start from, the present one first."""

    candidates: tuple[Path, ...]
    upload: Path
    supervision: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseResult(Result):
    """Which of them fits best."""

    index: int
    scores: tuple[float | None, ...]
    """Agreement with the teacher's labels; None where these hold no object."""


def choose(context: Context, request: ChooseRequest) -> ChooseResult:
    """Which of a terminal's models fits the teacher's labels on its frames best."""
    images, supervision = load_frames(request.upload).images, load_supervision(request.supervision)
    choice = choose_start(context.task, request.candidates, images, supervision, context.config.zoo, context.device)
    return ChooseResult(index=choice.index, scores=choice.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySample:
    """Frames of one earlier window, or of one neighbour, and the supervision they were taught with."""

    upload: Path
    supervision: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilRequest(Request):
    """A distillation job: a terminal, its frames, and the supervision on them."""

    terminal: Path
    upload: Path
    supervision: Path
    terminal_out: Path
    soft_share: float | None
    """Weight of soft targets, 0 to 1, where it differs from the configuration's."""
    replay: tuple[ReplaySample, ...]
    """Earlier windows, oldest first."""
    neighbours: tuple[ReplaySample, ...]
    """Other terminals of the group."""


def distil_terminal(context: Context, request: DistilRequest) -> TrainingResult:
    """Teach a terminal the supervision on its original frames, on some of earlier windows, and on neighbours' ones."""
    config = context.config
    student, spec = context.load(request.terminal)
    frames, supervision = _taught(context, request)
    images = frames.images
    for samples, count in ((request.replay, config.replay.frames), (request.neighbours, config.replay.neighbours)):
        if count:
            further = [(load_frames(s.upload).images, load_supervision(s.supervision)) for s in samples]
            images, supervision = replayed(images, supervision, further, count)
    settings = config.distil
    trained = distil(
        context.task,
        student,
        images,
        supervision,
        plan=replace(settings.plan, steps=request.steps or settings.plan.steps),
        temperature=settings.temperature,
        soft_share=config.soft_share if request.soft_share is None else request.soft_share,
        compression=config.compression,
        seed=context.seed,
        precision=config.training.precision,
    )
    save_model(student, spec, request.terminal_out)
    return TrainingResult(trained=trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptRequest(Request):
    """A terminal, its frames, and labelled in-domain ones."""

    terminal: Path
    upload: Path
    reference: Path
    terminal_out: Path


def adapt(context: Context, request: AdaptRequest) -> TrainingResult:
    """Adapt a terminal to its frames by domain-adversarial training, without any teacher."""
    config = context.config
    model, spec = context.load(request.terminal)
    trained = adapt_adversarially(
        context.task,
        model,
        drifted=_uploaded(context, request.upload).images,
        familiar=replay_part(load_frames(request.reference)),
        plan=replace(config.distil.plan, steps=request.steps or config.distil.plan.steps),
        config=config.adversarial,
        seed=context.seed,
        precision=config.training.precision,
    )
    save_model(model, spec, request.terminal_out)
    return TrainingResult(trained=trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNormRequest(Request):
    """A terminal and its frames."""

    terminal: Path
    upload: Path
    terminal_out: Path


def adapt_batch_norm(context: Context, request: BatchNormRequest) -> Result:
    """Give a terminal the BatchNorm statistics of its frames; nothing is trained, and only they have to be sent."""
    model, spec = context.load(request.terminal)
    context.task.re_estimate(model, context.images(request.upload))
    save_model(model, spec, request.terminal_out)
    return Result(download_bytes=batch_norm_bytes(model))


def adapt_scale_and_shift(context: Context, request: BatchNormRequest) -> TrainingResult:
    """Train scale and shift of a terminal's BatchNorm on its frames until it is certain; only they have to be sent."""
    config = context.config
    model, spec = context.load(request.terminal)
    frames = _uploaded(context, request.upload)
    plan = replace(config.distil.plan, steps=request.steps or config.distil.plan.steps)
    trained = minimise_entropy(context.task, model, frames.images, plan, context.seed)
    save_model(model, spec, request.terminal_out)
    return TrainingResult(trained=trained, download_bytes=batch_norm_bytes(model))


def _uploaded(context: Context, upload: Path) -> FrameBatch:
    """Uploaded frames to learn from, without those that are held back."""
    frames = load_frames(upload)
    return frames.part(range(context.config.deployment.taught(len(frames))))


def _taught(context: Context, request: MutualRequest | DistilRequest) -> tuple[FrameBatch, list[Supervision]]:
    """The same with the supervision on them."""
    frames = _uploaded(context, request.upload)
    return frames, load_supervision(request.supervision)[: len(frames)]
