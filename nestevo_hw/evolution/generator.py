"""Generator of features for a class, learned from prediction modules and label counts (paper Algorithm 1).

The idea is FedGen's (Zhu et al., ICML 2021): no frame leaves its terminal pair, yet every pair can train its box
predictor on features that follow the label distribution of all terminals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.ranges import LEARNING_RATE, STEPS, WEIGHT, WIDTH, Range
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.base.transfer import sent
from nestevo_hw.evolution.transport import MOST_POINTS, distance_to_overall, feature_distance, label_distance
from nestevo_hw.streams.sampling import evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """Size and training of the feature generator."""

    enabled: bool = True
    noise_width: Annotated[int, WIDTH] = 32
    """Width of the random input z."""
    hidden_width: Annotated[int, WIDTH] = 128
    steps: Annotated[int, STEPS] = 300
    """Optimiser steps, once a window; each takes about a millisecond."""
    batch_size: Annotated[int, Range(1, 65_536)] = 64
    learning_rate: Annotated[float, LEARNING_RATE] = 5e-3
    diversity: Annotated[float, WEIGHT] = 1.0
    """Weight of the term that keeps features of one class apart."""
    weight: Annotated[float, WEIGHT] = 0.2
    """Weight of the loss on generated features in mutual learning."""


REACH = 2.0
"""How far a generated feature may lie from the mean of its class, in standard deviations."""


class FeatureGenerator(nn.Module):
    """G(y, z): (N,) labels and (N, Z) noise to (N, D) features, non-negative like those of a box head.

    Prediction modules alone would be content with features far from any real one, as these are classified best. So
    features stay within `REACH` standard deviations of what the teacher has seen of their class.

    Args:
        config: widths.
        mean: (C, D) mean feature of each class.
        spread: (C, D) its standard deviation.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: GeneratorConfig, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.classes, feature_width = mean.shape
        self.noise_width = config.noise_width
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.layers = nn.Sequential(
            nn.Linear(self.classes + config.noise_width, config.hidden_width),
            nn.ReLU(),
            nn.Linear(config.hidden_width, feature_width),
            nn.Tanh(),
        )

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Features of `labels` (1 to C) drawn by `noise`."""
        away: Tensor = self.layers(torch.cat([F.one_hot(labels - 1, self.classes).to(noise.dtype), noise], 1))
        return F.relu(self.mean[labels - 1] + REACH * self.spread[labels - 1] * away)

    def sample(self, distribution: Tensor, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` features and their labels (1 to C), labels drawn from `distribution` (C,)."""
        labels = torch.multinomial(distribution, count, replacement=True, generator=random) + 1
        noise = torch.randn(count, self.noise_width, generator=random)
        device = next(self.parameters()).device
        labels, noise = sent(labels, device), sent(noise, device)
        return self(labels, noise), labels


def class_moments(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C, D) of (N, D) features by their labels (1 to C).

    A class with fewer than two objects has those of all objects together; without any object they are 0 and 1.
    """
    if not len(features):
        nothing = features.new_zeros(classes, features.shape[1])
        return nothing, nothing + 1.0
    own = [features[labels == c] for c in range(1, classes + 1)]
    known = [rows if len(rows) > 1 else features for rows in own]
    return torch.stack([r.mean(0) for r in known]), torch.stack([r.std(0, correction=0) for r in known])


def label_distribution(counts: Sequence[Mapping[int, int]], classes: int) -> Tensor:
    """(C,) shares of each class over all terminals; uniform where nothing was labelled."""
    totals = torch.tensor([float(sum(c.get(k, 0) for c in counts)) for k in range(1, classes + 1)])
    return totals / totals.sum() if totals.sum() > 0 else torch.full((classes,), 1 / classes)


def train_generator(
    generator: FeatureGenerator,
    predictors: Sequence[nn.Module],
    counts: Sequence[Mapping[int, int]],
    config: GeneratorConfig,
    random: torch.Generator,
    *,
    first_logit: int,
) -> float:
    """Learn features that the ensemble of prediction modules recognises, and that differ from one another.

    Args:
        generator: trained in place.
        predictors: K modules on its device from (N, D) features to (N, C + 1) logits; not changed.
        counts: K label counts, class to number of objects; a module speaks for a class by its share of it.
        config: training length and weights.
        random: draws labels and noise, on the CPU.
        first_logit: index of class 1 among the logits.

    Returns:
        Mean label loss (cross-entropy, nats) of the last tenth of the steps.
    """
    classes = generator.classes
    distribution = label_distribution(counts, classes)
    held = torch.tensor([[c.get(k, 0) + 1e-3 for k in range(1, classes + 1)] for c in counts])
    device = next(generator.parameters()).device
    shares = (held / held.sum(0)).to(device)
    optimiser = torch.optim.Adam(generator.parameters(), lr=config.learning_rate)
    tail: list[Tensor] = []
    for step in range(config.steps):
        labels = torch.multinomial(distribution, config.batch_size, replacement=True, generator=random) + 1
        noise = torch.randn(config.batch_size, generator.noise_width, generator=random)
        pairs = _pairs(labels)
        labels, noise, pairs = sent(labels, device), sent(noise, device), sent(pairs, device)
        features = generator(labels, noise)
        targets = labels - 1 + first_logit
        losses = torch.stack([F.cross_entropy(p(features), targets, reduction="none") for p in predictors])
        label_loss = (losses * shares[:, labels - 1]).sum(0).mean()
        loss = label_loss + config.diversity * _sameness(features, noise, pairs)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if step >= config.steps * 9 // 10:
            tail.append(label_loss.detach())
    late: list[float] = torch.stack(tail).tolist()
    return sum(late) / len(late)


def _pairs(labels: Tensor) -> Tensor:
    """Places among all (N, N) pairs of two that have one class, in a row."""
    same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
    return same.flatten().nonzero()[:, 0]


def _sameness(features: Tensor, noise: Tensor, pairs: Tensor) -> Tensor:
    """Near 1 where different noise gives equal features of one class, near 0 where it gives different ones."""
    if not len(pairs):
        return features.sum() * 0.0
    apart = torch.cdist(features, features, p=1) / features.shape[1]
    drawn_apart = torch.cdist(noise, noise, p=2) / noise.shape[1] ** 0.5
    return torch.exp(-(apart * drawn_apart).flatten().gather(0, pairs).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorEffect:
    """Earth mover's distances between what terminals train on, before and after generated features are added."""

    emd_before: float
    """Between the terminals' label distributions."""
    emd_after: float
    feature_emd_before: float
    """Between the features of the terminals' objects, in units of their spread."""
    feature_emd_after: float
    overall_emd_before: float
    """From the features of each terminal's objects to the real ones of all terminals together."""
    overall_emd_after: float


def generator_effect(
    generator: FeatureGenerator,
    counts: Sequence[Mapping[int, int]],
    features: Sequence[Tensor],
    share: float,
    random: torch.Generator,
) -> GeneratorEffect:
    """Earth mover's distance between what the terminals train on, without and with generated features.

    Real features are thinned first, so that the same ones count on both sides, however many objects a terminal has.

    Args:
        generator: trained.
        counts: label counts of each terminal.
        features: (N_i, D) features of each terminal's labelled objects.
        share: part of each terminal's training labels that the generator draws from the overall distribution.
        random: draws them.
    """
    overall = label_distribution(counts, generator.classes)
    own = [label_distribution([c], generator.classes) for c in counts]
    mixed = [(1 - share) * distribution + share * overall for distribution in own]
    most, added = max(int(MOST_POINTS * (1 - share)), 1), []
    features = [mine[evenly(range(len(mine)), most)] for mine in features]
    for mine in features:
        number = round(len(mine) * share / (1 - share))
        drawn = generator.sample(overall, number, random)[0].detach().cpu() if number else mine[:0]
        added.append(torch.cat([mine, drawn]))
    return GeneratorEffect(
        emd_before=label_distance(own),
        emd_after=label_distance(mixed),
        feature_emd_before=feature_distance(features),
        feature_emd_after=feature_distance(added, unit=features),
        overall_emd_before=distance_to_overall(features, features),
        overall_emd_after=distance_to_overall(added, features),
    )


def save_generator(generator: FeatureGenerator, path: Path) -> None:
    """Write a generator to a safetensors file."""
    write_tensors(path, generator.state_dict())


def load_generator(path: Path, config: GeneratorConfig) -> FeatureGenerator:
    """Read what `save_generator` wrote, in eval mode and frozen."""
    _, tensors = read_tensors(path)
    generator = FeatureGenerator(config, tensors["mean"], tensors["spread"])
    generator.load_state_dict(tensors)
    return generator.eval().requires_grad_(False)
