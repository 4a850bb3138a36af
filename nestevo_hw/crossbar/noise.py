"""Crossbar-like weight noise in the forward pass of training (paper eq. 18-20)."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nestevo_hw.base.errors import ConfigError


@contextmanager
def weight_noise(
    model: nn.Module, mu: float, generator: torch.Generator, layers: Collection[str] | None = None
) -> Iterator[None]:
    """Compute one forward and backward pass with noisy weights; the clean ones receive the gradient.

    Layer l uses W_l ~ N(W_lo, sigma_l^2) with sigma_l = mu (W_l,max - W_l,min), clamped to
    [W_l,min, W_l,max] (eq. 18-20). Weights are changed in place and restored on leaving, also after an
    exception, so call `backward` inside and the optimiser's `step` outside. A backward pass after leaving
    raises torch's "modified by an inplace operation" instead of giving a wrong gradient.

    Args:
        model: its convolutions and linear layers get noise; biases and BatchNorm stay clean.
        mu: noise in units of each layer's weight range; 0 leaves everything as it is.
        generator: source of the noise; on the CPU the noise is the same for every device of the model.
        layers: names of the layers that get noise; None = all.

    Raises:
        ConfigError: `mu` is negative, or a name is no convolution or linear layer of the model.
    """
    if mu < 0:
        raise ConfigError(f"need mu of 0 or more, got {mu}")
    chosen = noisy_weights(model, layers)
    if mu == 0.0:
        yield
        return
    clean = [weight.detach().clone() for weight in chosen]
    try:
        with torch.no_grad():
            for weight in chosen:
                weight.copy_(_perturbed(weight, mu, generator))
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(chosen, clean, strict=True):
                weight.copy_(value)


def noisy_weights(model: nn.Module, layers: Collection[str] | None = None) -> list[Tensor]:
    """Weights of the convolutions and linear layers, each once even if shared.

    Raises:
        ConfigError: a name of `layers` is no convolution or linear layer of the model.
    """
    found: dict[str, Tensor] = {
        name: module.weight for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, (_ConvNd, nn.Linear))
    }  # fmt: skip
    for name in layers or ():
        if name not in found:
            raise ConfigError(f"{name!r} is no convolution or linear layer of the model")
    chosen = [weight for name, weight in found.items() if layers is None or name in layers]
    return list({id(weight): weight for weight in chosen}.values())


def _perturbed(weight: Tensor, mu: float, generator: torch.Generator) -> Tensor:
    low, high = weight.aminmax()
    noise = torch.randn(weight.shape, generator=generator, device=generator.device).to(weight)
    return torch.clamp(weight + mu * (high - low) * noise, low, high)
