"""The feature generator learns features its predictors recognise, and lowers the distance between terminals."""

import pytest
import torch
from torch import nn

from nestevo_hw.evolution.generator import (
    FeatureGenerator,
    GeneratorConfig,
    class_moments,
    generator_effect,
    label_distribution,
    load_generator,
    save_generator,
    train_generator,
)

CONFIG = GeneratorConfig(steps=400, learning_rate=1e-2, hidden_width=32, noise_width=8)
MEAN = torch.arange(1.0, 4.0)[:, None].expand(3, 16).clone()
"""Typical features of three classes."""


def predictors(classes=3, width=16):
    torch.manual_seed(0)
    return [nn.Linear(width, classes + 1).requires_grad_(False) for _ in range(2)]


def trained():
    torch.manual_seed(1)
    generator, random = FeatureGenerator(CONFIG, MEAN, torch.ones(3, 16)), torch.Generator().manual_seed(2)
    counts = [{1: 30, 2: 5}, {2: 20, 3: 40}]
    return generator, train_generator(generator, predictors(), counts, CONFIG, random, first_logit=1), random


def test_generated_features_are_recognised_by_the_modules_that_know_their_class():
    """Only the first pair has seen class 1 often, only the second class 3."""
    generator, loss, random = trained()
    features, labels = generator.sample(torch.tensor([0.5, 0.0, 0.5]), 300, random)
    first, second = (module(features).argmax(1) for module in predictors())
    assert (second[labels == 3] == 3).float().mean() > 0.9
    assert (first[labels == 1] == 1).float().mean() > 0.9
    assert loss < 0.5


def test_moments_are_those_of_the_class_or_of_all_and_always_finite():
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [8.0, 6.0]])
    mean, spread = class_moments(features, torch.tensor([1, 1, 2]), 3)
    torch.testing.assert_close(mean, torch.tensor([[2.0, 0.0], [4.0, 2.0], [4.0, 2.0]]))
    torch.testing.assert_close(spread[0], torch.tensor([1.0, 0.0]))
    mean, spread = class_moments(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3)
    assert torch.equal(mean, torch.zeros(3, 2))
    assert torch.equal(spread, torch.ones(3, 2))


def test_features_of_one_class_differ_from_one_another():
    generator, _, random = trained()
    features, _ = generator.sample(torch.tensor([1.0, 0.0, 0.0]), 50, random)
    assert features.std(0).mean() > 0.01 * features.mean()


def test_labels_follow_the_overall_distribution():
    distribution = label_distribution([{1: 10}, {1: 20, 3: 70}], 3)
    torch.testing.assert_close(distribution, torch.tensor([0.3, 0.0, 0.7]))
    assert torch.equal(label_distribution([{}], 2), torch.tensor([0.5, 0.5]))


def test_generated_features_bring_terminals_nearer_to_one_another():
    """Disjoint labels are 1 apart; with a quarter drawn from the overall distribution, 0.75."""
    generator, _, random = trained()
    features = [torch.rand(40, 16), torch.rand(60, 16) + 50.0]
    effect = generator_effect(generator, [{1: 30}, {2: 50}], features, 0.25, random)
    assert effect.emd_before == pytest.approx(1.0)
    assert effect.emd_after == pytest.approx(0.75)
    assert effect.feature_emd_after == pytest.approx(0.75 * effect.feature_emd_before, rel=0.05)
    assert effect.overall_emd_after > 0 < effect.overall_emd_before


class Perfect(FeatureGenerator):
    """Draws real features of all terminals together."""

    def __init__(self, real):
        super().__init__(CONFIG, MEAN, torch.ones(3, 16))
        self.real = real

    def sample(self, distribution, count, random):
        del distribution
        return self.real[torch.randint(len(self.real), (count,), generator=random)], torch.ones(count)


@pytest.mark.parametrize("objects", [60, 215, 250, 400])
def test_a_perfect_generator_never_seems_to_do_harm(objects):
    """Not where a terminal has so many objects that only some of them can be compared, either."""
    random = torch.Generator().manual_seed(3)
    real = [torch.randn(objects, 64, generator=random) + shift for shift in (0.0, 0.3, 0.6)]
    others = torch.cat([torch.randn(500, 64, generator=random) + shift for shift in (0.0, 0.3, 0.6)])
    effect = generator_effect(Perfect(others), [{1: objects}] * 3, real, 1 / 6, random)
    assert effect.overall_emd_after < effect.overall_emd_before
    assert effect.feature_emd_after < effect.feature_emd_before


def test_a_generator_survives_its_file(tmp_path):
    generator, _, _ = trained()
    save_generator(generator, tmp_path / "g.safetensors")
    back = load_generator(tmp_path / "g.safetensors", CONFIG)
    noise, labels = torch.randn(4, 8), torch.tensor([1, 2, 3, 1])
    assert torch.equal(back(labels, noise), generator(labels, noise))
