"""Noise from a table against the distribution it stands for."""

import math

import pytest
import torch
from scipy.stats import kstest, kurtosis

from nestevo_hw.crossbar.gaussian import NoiseSource


def _noise(*shape: int, seed: int) -> torch.Tensor:
    values = torch.zeros(shape)
    for part, noise in NoiseSource(seed).parts(values):
        part.add_(noise)
    return values


def test_noise_is_gaussian_and_independent() -> None:
    n = 400_000
    noise = _noise(n, seed=3)
    assert abs(noise.mean().item()) < 4 / math.sqrt(n)
    assert noise.std().item() == pytest.approx(1.0, abs=4 / math.sqrt(2 * n))
    assert abs(kurtosis(noise.numpy())) < 4 * math.sqrt(24 / n)
    assert kstest(noise.numpy(), "norm").pvalue > 1e-4
    for lag in (1, 2, 3, 4, 64, 1 << 15):  # of a random word, and of a piece
        assert abs((noise[lag:] * noise[:-lag]).mean().item()) < 4 / math.sqrt(n)


def test_shape_and_seed() -> None:
    noise = _noise(30, 50, 70, seed=1)
    assert bool((noise != 0).all())
    assert torch.equal(noise, _noise(30, 50, 70, seed=1))
    assert not torch.equal(noise, _noise(30, 50, 70, seed=2))
    assert _noise(0, 4, seed=1).shape == (0, 4)
