"""Eq. 18-20 against their definition, and the promise that the stored weights stay clean."""

import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

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


def _computed(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "weight_norm":
        return parametrizations.weight_norm(nn.Linear(30, 20))
    if kind == "spectral_norm":
        return parametrizations.spectral_norm(nn.Conv2d(3, 8, 3))
    if kind == "orthogonal":
        return parametrizations.orthogonal(nn.Linear(20, 20))
    if kind == "pruned":
        return prune.l1_unstructured(nn.Linear(30, 20), "weight", 0.5)
    return nn.utils.spectral_norm(nn.Linear(30, 20))


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal", "pruned", "spectral_norm by hook"])
def test_a_computed_weight_gets_its_noise_where_it_multiplies(kind: str) -> None:
    layer = _computed(kind).eval()
    x = torch.randn(4, 3, 6, 6) if isinstance(layer, nn.Conv2d) else torch.randn(4, layer.in_features)
    digital = layer(x).detach()
    clean, state = layer.weight.detach().clone(), {k: v.clone() for k, v in layer.state_dict().items()}
    plain = nn.Conv2d(3, 8, 3) if isinstance(layer, nn.Conv2d) else nn.Linear(layer.in_features, layer.out_features)
    plain.load_state_dict({"weight": clean, "bias": layer.bias.detach()})
    with weight_noise(plain, 0.1, _generator(3)):
        expected, wanted = plain(x), plain.weight.detach().clone()
        expected.square().sum().backward()
    with weight_noise(layer, 0.1, _generator(3)):
        y = layer(x)
        assert torch.equal(layer.weight.detach(), wanted)
        assert torch.equal(layer(x), y)
        y.square().sum().backward()
    torch.testing.assert_close(y, expected)
    assert torch.equal(layer(x), digital)
    assert all(torch.equal(value, state[key]) for key, value in layer.state_dict().items())
    # The gradient of the noisy weight, taken on to the parameters as torch takes it through the clean one
    own = [p for name, p in layer.named_parameters() if not name.endswith("bias")]
    through = torch.autograd.grad(_computed_weight(layer, x), own, plain.weight.grad)
    for parameter, gradient in zip(own, through, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def _computed_weight(layer: nn.Module, x: Tensor) -> Tensor:
    layer(x)
    return layer.weight


def test_attention_and_recurrent_modules_get_noise_on_all_their_matrices() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"attention": nn.MultiheadAttention(8, 2, kdim=5), "recurrent": nn.LSTM(4, 3, 2), "cell": nn.GRUCell(4, 3)}
    )
    clean = {key: value.clone() for key, value in model.state_dict().items()}
    with weight_noise(model, 0.1, _generator()):
        changed = {key for key, value in model.state_dict().items() if not torch.equal(value, clean[key])}
        model["recurrent"](torch.rand(2, 1, 4))[0].sum().backward()
    assert changed == {key for key in clean if "weight" in key}
    assert all(torch.equal(value, clean[key]) for key, value in model.state_dict().items())


def test_a_recurrent_module_with_computed_weights_is_refused() -> None:
    layer = parametrizations.weight_norm(nn.LSTM(4, 3), "weight_hh_l0")
    with (
        pytest.raises(ConfigError, match="recurrent: weight_hh_l0 is computed from other parameters"),
        weight_noise(nn.ModuleDict({"recurrent": layer}), 0.1, _generator()),
    ):
        pass
