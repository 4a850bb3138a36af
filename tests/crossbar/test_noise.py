"""Eq. 18-20 against their definition, and the promise that the stored weights stay clean."""

import math

import pytest
import torch
from scipy.stats import kstest
from torch import nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.noise import weight_noise


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_the_deviation_of_eq_19_and_the_clamp_of_eq_20() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(400, 500, bias=False)
    clean = layer.weight.detach().clone()
    low, high = clean.min(), clean.max()
    mu = 0.05
    sigma = float(mu * (high - low))
    with weight_noise(layer, mu, _generator(1)):  # another seed than the weights', which would correlate
        noisy = layer.weight.detach().clone()
    assert noisy.min() >= low
    assert noisy.max() <= high
    # weights more than 5 sigma from both ends are clamped with probability 6e-7 only
    inner = (clean - low > 5 * sigma) & (high - clean > 5 * sigma)
    error = (noisy - clean)[inner]
    n = error.numel()
    assert n > 50_000
    assert abs(error.mean().item()) < 4 * sigma / math.sqrt(n)
    assert error.std().item() == pytest.approx(sigma, abs=4 * sigma / math.sqrt(2 * n))
    assert kstest((error / sigma).numpy(), "norm").pvalue > 1e-4
    # at the ends the clamp holds half of the noise back
    at_top = clean > high - 0.01 * sigma
    assert (noisy[at_top] == high).float().mean().item() == pytest.approx(
        0.5, abs=4 * 0.5 / math.sqrt(int(at_top.sum()))
    )


def test_gradient_of_the_noisy_weight_goes_to_the_clean_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
    clean = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(10, 6)
    with weight_noise(model, 0.1, _generator(3)):
        noisy = {k: v.clone() for k, v in model.state_dict().items()}
        model(x).square().mean().backward()
    grads = {k: p.grad.clone() for k, p in model.named_parameters()}
    assert all(torch.equal(v, clean[k]) for k, v in model.state_dict().items())
    assert not torch.equal(noisy["0.weight"], clean["0.weight"])
    assert torch.equal(noisy["0.bias"], clean["0.bias"])
    parameters = {k: v.clone().requires_grad_() for k, v in noisy.items()}
    torch.func.functional_call(model, parameters, (x,)).square().mean().backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(grads[name], parameter.grad)


def test_weights_are_restored_after_an_exception() -> None:
    layer = nn.Conv2d(3, 4, 3)
    clean = layer.weight.detach().clone()
    seen = []

    def fail() -> None:
        with weight_noise(layer, 0.2, _generator()):
            seen.append(layer.weight.detach().clone())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert not torch.equal(seen[0], clean)
    assert torch.equal(layer.weight, clean)


def test_backward_outside_is_refused_instead_of_wrong() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    with weight_noise(model, 0.1, _generator()):
        loss = model(torch.randn(2, 4)).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_shared_weight_gets_noise_once_and_the_chosen_layers_only() -> None:
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    model = nn.ModuleDict({"a": first, "b": second, "c": nn.Linear(5, 5)})
    clean_c = model["c"].weight.detach().clone()
    alone = nn.Linear(5, 5)
    alone.weight = nn.Parameter(first.weight.detach().clone())
    with weight_noise(alone, 0.3, _generator(1)):
        expected = alone.weight.detach().clone()
    with weight_noise(model, 0.3, _generator(1), layers=("a", "b")):
        assert torch.equal(first.weight, expected)
        assert torch.equal(model["c"].weight, clean_c)


def test_bad_arguments() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="mu of 0 or more, got -1"), weight_noise(model, -1.0, _generator()):
        pass
    with (
        pytest.raises(ConfigError, match="'head' is no convolution"),
        weight_noise(model, 0.1, _generator(), layers=("head",)),
    ):
        pass
    clean = model.weight.detach().clone()
    with weight_noise(model, 0.0, _generator()):
        assert torch.equal(model.weight, clean)
