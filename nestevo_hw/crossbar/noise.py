"""Crossbar-like weight noise in the forward pass of training (paper eq. 18-20)."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.parametrize import is_parametrized

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.transfer import sent

_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@contextmanager
def weight_noise(
    model: nn.Module, mu: float, generator: torch.Generator, layers: Collection[str] | None = None
) -> Iterator[None]:
    """Compute one forward and backward pass with noisy weights; the clean ones receive the gradient.

    Layer l uses W_l ~ N(W_lo, sigma_l^2) with sigma_l = mu (W_l,max - W_l,min), clamped to
    [W_l,min, W_l,max] (eq. 18-20). Weights are changed in place and restored on leaving, also after an
    exception, so call `backward` inside and the optimiser's `step` outside. A backward pass after leaving
    raises torch's "modified by an inplace operation" instead of giving a wrong gradient.

    A weight that is computed from other parameters (weight_norm, spectral_norm, pruning and other parametrisations)
    gets its noise where it is computed: the noise is on the weight that multiplies, the gradient goes through it to
    the parameters.

    Args:
        model: its convolutions, linear layers, attention and recurrent modules get noise; biases and BatchNorm stay
            clean.
        mu: noise in units of each layer's weight range; 0 leaves everything as it is.
        generator: source of the noise; on the CPU the noise is the same for every device of the model.
        layers: names of the layers that get noise; None = all.

    Raises:
        ConfigError: `mu` is negative, a name is no such layer of the model, or a recurrent module computes its
            weights from other parameters.
    """
    if mu < 0:
        raise ConfigError(f"need mu of 0 or more, got {mu}")
    chosen = noisy_weights(model, layers)
    if mu == 0.0:
        yield
        return
    stored = {id(place.parameter): place.parameter for place in chosen if place.parameter is not None}
    clean = [weight.detach().clone() for weight in stored.values()]
    with ExitStack() as leaving:
        for place in chosen:
            if place.parameter is None:
                leaving.enter_context(_noisy_where_computed(place, _Noise(mu, generator)))
        try:
            with torch.no_grad():
                for weight in stored.values():
                    weight.copy_(_perturbed(weight, mu, _normal(weight, generator)))
            yield
        finally:
            with torch.no_grad():
                for weight, value in zip(stored.values(), clean, strict=True):
                    weight.copy_(value)


@dataclass(frozen=True, slots=True, eq=False)
class NoisyWeight:
    """A matrix of a module that gets noise."""

    module: nn.Module
    name: str
    """Attribute of the module."""

    @property
    def parameter(self) -> nn.Parameter | None:
        """The weight itself; None if it is computed from other parameters."""
        return self.module._parameters.get(self.name)


def noisy_weights(model: nn.Module, layers: Collection[str] | None = None) -> list[NoisyWeight]:
    """Every matrix of the layers once, in the model's order.

    Raises:
        ConfigError: a name of `layers` is no layer with weights, or a recurrent module computes them from others.
    """
    found = {name: _matrices(module) for name, module in model.named_modules(remove_duplicate=False)}
    for name in layers or ():
        if not found.get(name):
            raise ConfigError(f"{name!r} is no convolution or linear layer of the model")
    chosen: dict[tuple[int, str], NoisyWeight] = {}
    for layer, matrices in found.items():
        for matrix in matrices if layers is None or layer in layers else ():
            if matrix.parameter is None and isinstance(matrix.module, (nn.RNNBase, RNNCellBase)):
                raise ConfigError(
                    f"{layer}: {matrix.name} is computed from other parameters, where a recurrent module takes no "
                    "noise; name the other layers, or remove its parametrisation"
                )
            chosen.setdefault((id(matrix.module), matrix.name), matrix)
    return list(chosen.values())


def _matrices(module: nn.Module) -> list[NoisyWeight]:
    names: tuple[str, ...] = ()
    if isinstance(module, (_ConvNd, nn.Linear)):
        names = ("weight",)
    elif isinstance(module, nn.MultiheadAttention):
        names = tuple(name for name in _ATTENTION if getattr(module, name, None) is not None)
    elif isinstance(module, nn.RNNBase):
        names = tuple(name for group in module._all_weights for name in group if name.startswith("weight"))
    elif isinstance(module, RNNCellBase):
        names = ("weight_ih", "weight_hh")
    return [NoisyWeight(module, name) for name in names]


class _Noise(nn.Module):
    """Adds its noise, the same at every call, to a weight; the gradient passes."""

    def __init__(self, mu: float, generator: torch.Generator) -> None:
        super().__init__()
        self._mu, self._generator = mu, generator
        self._normal: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        if self._normal is None:
            self._normal = _normal(weight, self._generator)
        clean = weight.detach()
        return weight + (_perturbed(clean, self._mu, self._normal) - clean)


@contextmanager
def _noisy_where_computed(place: NoisyWeight, noise: _Noise) -> Iterator[None]:
    """The noise as the last step of what computes a weight."""
    module: Any = place.module
    if is_parametrized(module, place.name):
        steps = module.parametrizations[place.name]
        steps.append(noise)
        try:
            yield
        finally:
            del steps[-1]
        return
    # The older way: a hook computes the weight before each call, and ours comes after it.
    clean = getattr(module, place.name)

    def add(_module: nn.Module, _inputs: object) -> None:
        setattr(module, place.name, noise(getattr(module, place.name)))

    handle = module.register_forward_pre_hook(add)
    try:
        yield
    finally:
        handle.remove()
        setattr(module, place.name, clean)


def _normal(weight: Tensor, generator: torch.Generator) -> Tensor:
    return sent(torch.randn(weight.shape, generator=generator, device=generator.device), weight.device).to(weight.dtype)


def _perturbed(weight: Tensor, mu: float, normal: Tensor) -> Tensor:
    low, high = weight.aminmax()
    return torch.clamp(weight + mu * (high - low) * normal, low, high)
