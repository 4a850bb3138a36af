"""Gradients through the crossbar: its forward pass is that of the simulated device, the backward pass goes straight on.

Rounding and noise count as nothing, and what was clipped as clipped (Rasch et al., Nat. Commun. 2023, 14:5282).
"""

from typing import Any, Self

import torch
from torch import Tensor

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.transfer import as_scalar
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset
from nestevo_hw.crossbar.geometry import Layer
from nestevo_hw.crossbar.layers import CrossbarLayer, FusedLayer
from nestevo_hw.crossbar.tiles import LayerTiles


def check_gradients(preset: DevicePreset, backend: Backend) -> None:
    """Refuse a device that only aihwkit's own tile can simulate.

    Raises:
        ConfigError: it has input noise, which no gradient passes.
    """
    if backend == "reference":
        raise ConfigError(
            f"device {preset.name} has input noise, which only aihwkit's own tile simulates, without gradients to "
            "train with; leave input_noise out"
        )


class _Through(torch.autograd.Function):
    """The value of one tensor with the gradient of another."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: tuple[Tensor]) -> Tensor:  # noqa: ANN401 - as torch's
        # In a tuple it is no input of autograd's, so the output is no view of one and may be changed in place.
        del ctx, smooth
        return exact[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        del ctx
        return gradients[0], None


def through(smooth: Tensor, exact: Tensor) -> Tensor:
    """`exact` in value and `smooth` in gradient, both of one shape; `exact` must not be used otherwise."""
    result: Tensor = _Through.apply(smooth, (exact,))
    return result


class PassingLayer(FusedLayer):
    """A layer on the crossbar that hands the gradient of its output on to its input; its cells stay as they are."""

    @classmethod
    def like(cls, layer: CrossbarLayer, tiles: LayerTiles, digital: Layer, converters: ConverterModel) -> Self:
        """A layer that computes as another one on the same tiles, with that one's noise from the start."""
        passing = cls(tiles, digital, converters)
        passing.bias, passing.input_range = layer.bias, layer.input_range
        passing.set_output_bound(layer.output_bound, tiles)
        passing.restart_noise(layer.noise_seed)
        return passing.to(layer.weight.device)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Same arguments and shapes as the digital layer."""
        full_scale = self._require_range()
        if full_scale == 0.0:
            return self._unused(input, output_size)
        return self._computed(input, full_scale, output_size)

    def _input_codes(self, x: Tensor, full_scale: float | Tensor) -> Tensor:
        most = as_scalar(full_scale, x.device)
        smooth = torch.minimum(torch.maximum(x, -most), most) / (most * self._dac_step)
        with torch.no_grad():  # a number is not read back from the device either
            exact = super()._input_codes(x, full_scale.detach() if isinstance(full_scale, Tensor) else full_scale)
        return through(smooth, exact)

    def _convert(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        with torch.no_grad():
            exact = super()._convert(y.clone(), sigma)
        inside = exact.abs() < self._limit
        return through(torch.where(inside, y, y.detach()), exact)
