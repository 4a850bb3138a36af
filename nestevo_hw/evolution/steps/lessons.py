"""Steps that train: generator, pairs of terminal and intermediate model, terminals."""

from pathlib import Path

import torch
from torch import nn

from nestevo_hw.base.seeding import seeded, torch_generator
from nestevo_hw.evolution.dryrun import dry_run
from nestevo_hw.evolution.generator import (
    FeatureGenerator,
    class_moments,
    generator_effect,
    save_generator,
    train_generator,
)
from nestevo_hw.evolution.learning import adapt_terminal, distil_terminal, learn_mutually
from nestevo_hw.evolution.steps.payload import Payload, Result, class_counts, opened, or_null
from nestevo_hw.evolution.training import training_device
from nestevo_hw.evolution.zoo import choose_start
from nestevo_hw.models.batch_norm import batch_norm_bytes
from nestevo_hw.models.checkpoint import load_model, save_model
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.capabilities import FeatureGeneration, require
from nestevo_hw.tasks.supervision import labelled_features, load_supervision


def profile(payload: Payload) -> Result:
    """Dry run of one training step of each kind with a terminal's own model, for the scheduler's predictions."""
    config, _ = opened(payload)
    device = training_device(config.execution.device)
    return dry_run(config, terminal=Path(payload["model"]), intermediate=Path(payload["weights"]), device=device)


def generate(payload: Payload) -> Result:
    """Train the feature generator on the prediction modules of the intermediate models (Algorithm 1)."""
    config, task = opened(payload)
    generating = require(task, FeatureGeneration, "generator.enabled")
    modules: list[nn.Module] = []
    for path in payload["predictors"]:
        model, spec = load_model(Path(path))
        modules.append(generating.prediction_module(model).requires_grad_(False))
    counts = class_counts(payload["counts"])
    described = [labelled_features(load_supervision(Path(path))) for path in payload["supervisions"]]
    own, labels = [features for features, _ in described], torch.cat([labels for _, labels in described])
    with seeded(config.seed, payload["name"]):
        generator = FeatureGenerator(config.generator, *class_moments(torch.cat(own), labels, len(spec.classes)))
    random = torch_generator(config.seed, payload["name"])
    loss = train_generator(generator, modules, counts, config.generator, random, first_logit=generating.first_logit)
    save_generator(generator, Path(payload["generator"]))
    share = config.generator.weight / (1 + config.generator.weight)
    return {"label_loss": loss, **generator_effect(generator, counts, own, share, random)}


def mutual(payload: Payload) -> Result:
    """A terminal and its intermediate model learn from the labels and from each other (eq. 14, 15)."""
    config, _ = opened(payload)
    return learn_mutually(
        config,
        terminal=Path(payload["terminal_in"]),
        intermediate=Path(payload["intermediate_in"]),
        frames=Path(payload["upload"]),
        supervision=Path(payload["supervision"]),
        reference=Path(payload["reference"]),
        generator=Path(payload["generator"]) if payload["generator"] else None,
        counts=class_counts(payload["counts"]),
        terminal_out=Path(payload["terminal_out"]),
        intermediate_out=Path(payload["intermediate_out"]),
        random_name=payload["name"],
        device=training_device(config.execution.device),
    )


def choose(payload: Payload) -> Result:
    """Which of a terminal's models fits the teacher's words on its frames best."""
    config, task = opened(payload)
    images, words = load_frames(Path(payload["upload"])).images, load_supervision(Path(payload["supervision"]))
    choice = choose_start(task, [Path(path) for path in payload["candidates"]], images, words, config.zoo)
    return {"index": choice.index, "scores": [or_null(score) for score in choice.scores]}


def distil(payload: Payload) -> Result:
    """Teach a terminal the words on its original frames."""
    config, _ = opened(payload)
    return distil_terminal(
        config,
        terminal=Path(payload["terminal_in"]),
        frames=Path(payload["upload"]),
        supervision=Path(payload["supervision"]),
        terminal_out=Path(payload["terminal_out"]),
        steps=payload["steps"],
        soft_share=payload["soft_share"],
        memories=[(Path(m["upload"]), Path(m["supervision"])) for m in payload["memories"]],
        random_name=payload["name"],
        device=training_device(config.execution.device),
    )


def adapt(payload: Payload) -> Result:
    """Adapt a terminal to its frames by domain-adversarial training, without any teacher."""
    config, _ = opened(payload)
    return adapt_terminal(
        config,
        terminal=Path(payload["terminal_in"]),
        frames=Path(payload["upload"]),
        reference=Path(payload["reference"]),
        terminal_out=Path(payload["terminal_out"]),
        steps=payload["steps"],
        random_name=payload["name"],
        device=training_device(config.execution.device),
    )


def re_estimate(payload: Payload) -> Result:
    """Give a terminal the BatchNorm statistics of its frames; nothing is trained, and only they have to be sent."""
    _, task = opened(payload)
    model, spec = load_model(Path(payload["terminal_in"]))
    task.re_estimate(model, load_frames(Path(payload["upload"])).images)
    save_model(model, spec, Path(payload["terminal_out"]))
    return {"download_bytes": batch_norm_bytes(model)}
