"""Noise from a table against the distribution it stands for."""

import math

import pytest
import torch
from scipy.stats import kstest, kurtosis

from nestevo_hw.crossbar.gaussian import NoiseSource


def test_noise_is_gaussian_and_independent() -> None:
    n = 400_000
    noise = NoiseSource(3).like(torch.empty(n))
    assert abs(noise.mean().item()) < 4 / math.sqrt(n)
    assert noise.std().item() == pytest.approx(1.0, abs=4 / math.sqrt(2 * n))
    assert abs(kurtosis(noise.numpy())) < 4 * math.sqrt(24 / n)
    assert kstest(noise.numpy(), "norm").pvalue > 1e-4
    for lag in (1, 2, 3, 4, 64, 1 << 15):  # of a random word, and of a piece
        assert abs((noise[lag:] * noise[:-lag]).mean().item()) < 4 / math.sqrt(n)


def test_shape_and_seed() -> None:
    empty = torch.empty(30, 50, 70)
    noise = NoiseSource(1).like(empty)
    assert bool((noise != 0).all())
    assert torch.equal(noise, NoiseSource(1).like(empty))
    assert not torch.equal(noise, NoiseSource(2).like(empty))
    assert torch.equal(NoiseSource.named(0, "a", 1).like(empty), NoiseSource.named(0, "a", 1).like(empty))
    assert NoiseSource(1).like(torch.empty(0, 4)).shape == (0, 4)


@pytest.mark.parametrize(
    "sigma", [0.5, torch.tensor([0.5, 2.0]).view(1, 2, 1), torch.linspace(0.5, 2.0, 80_000).view(40, 2, 1000)]
)
def test_added_noise_has_the_stated_deviation_and_visits_every_value_once(sigma: float | torch.Tensor) -> None:
    values = torch.ones(40, 2, 1000)  # more than one piece
    pieces = list(NoiseSource(7).add_scaled(values, sigma))
    assert sum(piece.numel() for piece in pieces) == values.numel()
    for piece in pieces:
        piece.mul_(2.0)  # a view: what is done to it stays
    standardised = (values / 2.0 - 1.0) / sigma
    n = values.numel()
    assert standardised.mean().abs() < 4 / math.sqrt(n)
    assert standardised.std().item() == pytest.approx(1.0, abs=4 / math.sqrt(2 * n))
