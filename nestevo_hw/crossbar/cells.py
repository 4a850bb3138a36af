"""The cells of a tile: programming noise, drift and defects, with the statistics of aihwkit's noise models."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
from aihwkit.inference.noise.base import BaseNoiseModel
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nestevo_hw.crossbar.devices import DevicePreset, MeasuredLaw
from nestevo_hw.crossbar.devices.model import ideal_model
from nestevo_hw.crossbar.gaussian import NoiseSource

FULL_SCALE = (-1.0, 1.0)
"""Weights at both ends of a range of conductances that is fixed."""
_LEVELS = 1 << 14
"""Conductances at which a noise model is tabulated; noise changes by less than 1e-4 of itself between two."""


class Cells(Protocol):
    """What happens to the weights of one tile, in units of full scale, -1 to 1."""

    def program(self, target: Tensor, noise: NoiseSource) -> tuple[Tensor, Tensor]:
        """Write (outputs, rows) weights.

        Returns:
            (outputs, rows) weights as programmed, and (devices, outputs, rows) drift coefficients, each device's
            own until it is programmed again.
        """

    def age(
        self, programmed: Tensor, drift: Tensor, seconds: float, noise: NoiseSource, lasting: NoiseSource,
        span: tuple[float, float] = FULL_SCALE, /,
    ) -> Tensor:  # fmt: skip
        """(outputs, rows) weights read `seconds` > 0 after programming, from what `program` returned.

        `noise` is that of this read, `lasting` what a device keeps until it is programmed again: it has to be the
        same stream for every age, so that the ages of a device lie on one trajectory. `span` holds the smallest and
        the largest target of the tile, or is `FULL_SCALE`.
        """


@lru_cache(maxsize=64)
def cells_of(preset: DevicePreset, device: torch.device, *, fixed_scale: bool) -> Cells:
    """The fastest exact implementation for a preset.

    Args:
        preset: device.
        device: of the tensors.
        fixed_scale: whether weights of -1 and 1 lie at the ends of the range of conductances; else the largest and,
            for a single device, the smallest of a tile do, as in aihwkit. Digits of bit slicing have a fixed scale,
            and so must a tile whose weights are all equal: it has no range of its own.
    """
    if preset.idle_is_silent and preset.noise_law is not None and preset.g_min_us == 0.0:
        return PairedCells(preset, device, fixed_scale=fixed_scale)
    return OwnCells(preset, fixed_scale=fixed_scale)


def noise_model(preset: DevicePreset) -> BaseNoiseModel:
    """Statistical model of the preset's cells; noise-free without a noise law."""
    return ideal_model(preset) if preset.noise_law is None else preset.noise_law(preset)


class draws(TorchFunctionMode):  # noqa: N801 - a context manager, like torch.no_grad
    """Inside this context torch.randn_like returns what `source` makes of its argument.

    aihwkit's noise models draw all their noise with it, from the global generator.
    """

    def __init__(self, source: Callable[[Tensor], Tensor]) -> None:
        self._source = source

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the torch function returns
        """Pass every other function on."""
        return self._source(args[0]) if func is torch.randn_like else func(*args, **(kwargs or {}))


class OwnCells:
    """The noise model itself, device by device.

    Models of aihwkit and of users compute on the CPU, as not all of them can elsewhere; laws that were measured compute
    where the weights are.
    """

    def __init__(self, preset: DevicePreset, *, fixed_scale: bool) -> None:
        self._span, self._model = FULL_SCALE if fixed_scale else None, noise_model(preset)
        self._relaxation, self._measured = preset.relaxation, isinstance(preset.noise_law, MeasuredLaw)
        self._anywhere = self._measured or preset.noise_law is None

    def program(self, target: Tensor, noise: NoiseSource) -> tuple[Tensor, Tensor]:
        """See `Cells`."""
        devices, scaling = _conductances(self._model, self._near(target), self._span)
        with draws(noise.like):
            written = [self._model.apply_programming_noise_to_conductance(g) for g in devices]
            drift = torch.stack([self._model.generate_drift_coefficients(g) for g in devices])
        return _weights(self._model, written, scaling).to(target.device), drift.to(target.device)

    def age(
        self, programmed: Tensor, drift: Tensor, seconds: float, noise: NoiseSource, lasting: NoiseSource,
        span: tuple[float, float] = FULL_SCALE, /,
    ) -> Tensor:  # fmt: skip
        """See `Cells`.

        A measured device keeps the conductances that it was programmed to. The models of aihwkit are used as its tiles
        use them, on the scale of the largest programmed weight.
        """
        mine = self._near(programmed)
        devices, scaling = (
            _as_targeted(self._model, mine, span) if self._measured else _conductances(self._model, mine, self._span)
        )
        aged = []
        with warnings.catch_warnings():  # aihwkit's CMO model calls numpy.log10 on a tensor
            warnings.filterwarnings("ignore", "__array_wrap__ must accept", DeprecationWarning)
            for g, own in zip(devices, self._near(drift), strict=True):
                first = noise if self._relaxation == "none" else lasting
                with draws(_first_and_then(first, noise)):
                    aged.append(self._model.apply_drift_noise_to_conductance(g, own, seconds))
        return _weights(self._model, aged, scaling).to(programmed.device)

    def _near(self, values: Tensor) -> Tensor:
        return values if self._anywhere else values.cpu()


def _first_and_then(first: NoiseSource, others: NoiseSource) -> Callable[[Tensor], Tensor]:
    """Draws once from one source and from then on from another."""
    left = iter([first])

    def draw(values: Tensor) -> Tensor:
        return next(left, others).like(values)

    return draw


class PairedCells:
    """Differential pairs whose drift and read noise are proportional to the conductance (PCM), by table.

    The device of a pair that carries nothing can neither drift nor flicker, so only the other one is aged: the
    distribution is that of aihwkit's own tile, from fewer random numbers. What the noise model says at each
    conductance is tabulated once, from the model itself, in units of the largest conductance.
    """

    def __init__(self, preset: DevicePreset, device: torch.device, *, fixed_scale: bool) -> None:
        self._fixed_scale, self._pairs = fixed_scale, preset.pairs
        self._measured = isinstance(preset.noise_law, MeasuredLaw)
        self._model, self._device = noise_model(preset), device
        self._g = torch.linspace(0.0, preset.g_max_us, _LEVELS, dtype=torch.float64)
        with draws(torch.ones_like):  # in the direction in which the clamp at zero does not cut
            self._spread = self._table(self._model.apply_programming_noise_to_conductance(self._g) - self._g)
        with draws(torch.zeros_like):
            mean = self._model.generate_drift_coefficients(self._g)
        with draws(torch.ones_like):
            above = self._model.generate_drift_coefficients(self._g)
        one = preset.g_max_us
        self._drift_mean, self._drift_spread = self._table(mean * one), self._table((above - mean) * one)

    def program(self, target: Tensor, noise: NoiseSource) -> tuple[Tensor, Tensor]:
        """See `Cells`."""
        magnitude = target.abs()
        full_scale = self._full_scale(magnitude)
        levels, value = [], torch.zeros_like(target)
        for pair in range(self._pairs):
            share = self._share(magnitude, pair, full_scale)
            levels.append(self._level(share, full_scale))
            sigma = _at(self._spread, levels[pair]).mul_(full_scale / self._pairs)
            value += torch.addcmul(share, sigma, noise.like(target)).clamp_(min=0.0)
            value -= noise.like(target).mul_(self._spread[0] * full_scale / self._pairs).clamp_(min=0.0)
        # Where noise has turned a weight's sign, the other device carries it; its target was zero.
        kept = (value >= 0).to(torch.int32)
        drift = [
            torch.addcmul(_at(self._drift_mean, level.mul_(kept)), _at(self._drift_spread, level), noise.like(target))
            for level in levels
        ]
        return value.mul_(torch.copysign(value.new_ones(()), target)), torch.stack(drift).abs_()

    def age(
        self, programmed: Tensor, drift: Tensor, seconds: float, noise: NoiseSource, _lasting: NoiseSource,
        span: tuple[float, float] = FULL_SCALE, /,
    ) -> Tensor:  # fmt: skip
        """See `Cells`; what lasts are the drift exponents.

        A measured device keeps the conductances that it was programmed to, and beyond the largest target it reads as
        there; aihwkit's is on the scale of the largest programmed weight, as in `OwnCells`.
        """
        magnitude = programmed.abs()
        full_scale = self._full_scale(magnitude)
        if self._measured:
            full_scale = torch.full_like(full_scale, max(abs(end) for end in span))
        decay, flicker = self._ageing(seconds)
        value = torch.zeros_like(programmed)
        for pair, exponent in enumerate(drift):
            share = self._share(magnitude, pair, full_scale, beyond=self._measured)
            read = noise.like(share).mul_(_at(flicker, self._level(share, full_scale))).add_(1.0).clamp_(min=0.0)
            value.addcmul_(read.mul_(exponent.mul(-decay).exp_()), share)
        return value.copysign_(programmed)

    @lru_cache(maxsize=4)  # noqa: B019 - as many instances as presets
    def _ageing(self, seconds: float) -> tuple[float, Tensor]:
        """Decay of the logarithm of a conductance for a drift coefficient of 1, and its relative read noise."""
        g, still = self._g[1:], torch.zeros_like(self._g[1:])
        age = self._model.apply_drift_noise_to_conductance
        with draws(torch.zeros_like):
            decay = float(torch.log(g[-1] / age(g, still + 1e-3, seconds)[-1])) * 1e3
        with draws(torch.ones_like):
            flicker = age(g, still, seconds) / g - 1.0
        return decay, torch.cat([flicker[:1], flicker]).float().to(self._device)

    def _table(self, microsiemens: Tensor) -> Tensor:
        return (microsiemens / self._g[-1]).float().to(self._device)

    def _full_scale(self, magnitude: Tensor) -> Tensor:
        """Weight at the largest conductance: aihwkit scales each tile to its largest, a digit has a fixed scale."""
        return magnitude.new_ones(()) if self._fixed_scale else magnitude.amax().clamp_(min=1e-7)

    def _share(self, magnitude: Tensor, pair: int, full_scale: Tensor, *, beyond: bool = False) -> Tensor:
        """Part of the weight that one pair carries; the pairs are filled one after the other.

        Args:
            magnitude: of the weights.
            pair: its number.
            full_scale: what all pairs hold.
            beyond: the last one carries what is more than that.
        """
        if self._pairs == 1:
            return magnitude
        most = full_scale / self._pairs
        share = (magnitude - pair * most).clamp_(min=0.0)
        return share if beyond and pair == self._pairs - 1 else share.minimum(most)

    def _level(self, share: Tensor, full_scale: Tensor) -> Tensor:
        """int32 nearest row of the tables."""
        nearest = (share * ((_LEVELS - 1) * self._pairs / full_scale)).add_(0.5)
        return nearest.to(torch.int32).clamp_(max=_LEVELS - 1)


def with_stuck(preset: DevicePreset, weights: Tensor, chance: Tensor, span: tuple[float, float]) -> Tensor:
    """The weights that cells with stuck devices show; a stuck device neither drifts nor flickers.

    Args:
        preset: shares of stuck devices.
        weights: (outputs, rows), programmed or aged, in units of full scale; those of whole cells stay as they are.
        chance: (2 * pairs, outputs, rows) uniform in 0..1, the same at every call: a device below `stuck_off`
            has the least conductance, one above 1 - `stuck_on` the largest, and the next `stuck_random` above
            `stuck_off` are spread evenly between the two.
        span: weights that the ends of the range of conductances were given when the tile was programmed.
    """
    model = noise_model(preset)
    devices, scaling = _conductances(model, weights.clamp(*span), span)
    low, high = model.g_converter.g_min, model.g_converter.g_max
    moved, stuck = torch.zeros_like(weights, dtype=torch.bool), []
    for g, draw in zip(devices, chance, strict=False):
        off, on = draw < preset.stuck_off, draw >= 1.0 - preset.stuck_on
        between = ~(off | on) & (draw < preset.stuck_off + preset.stuck_random)
        anywhere = low + (high - low) * (draw - preset.stuck_off) / max(preset.stuck_random, 1e-12)
        idle = (g == low) & (len(devices) > 1)  # of a pair, which has nothing to lose
        moved |= on | between | (off & ~idle)
        stuck.append(torch.where(off, low, torch.where(on, high, torch.where(between, anywhere, g))))
    return torch.where(moved, _weights(model, stuck, scaling), weights)


def _at(table: Tensor, level: Tensor) -> Tensor:
    return table.index_select(0, level.flatten()).view(level.shape)


def _conductances(
    model: BaseNoiseModel, weights: Tensor, span: tuple[float, float] | None
) -> tuple[list[Tensor], dict[str, Any]]:
    """Conductances of each device, microsiemens, and what `_weights` needs to take them back.

    Args:
        model: knows the range of conductances.
        weights: any shape.
        span: weights at the ends of that range; None = the extremes of `weights`.
    """
    flat = weights.flatten()
    if span is not None:  # aihwkit maps the largest weight of a tile to the largest conductance
        flat = torch.cat([flat, weights.new_tensor(span)])
    devices, scaling = model.g_converter.convert_to_conductances(flat)
    listed = devices if isinstance(devices, list) else [devices]
    return [g[: weights.numel()].view_as(weights) for g in listed], scaling


def _as_targeted(
    model: BaseNoiseModel, programmed: Tensor, span: tuple[float, float]
) -> tuple[list[Tensor], dict[str, Any]]:
    """Conductances of pairs on the scale of the largest target, whatever the largest programmed weight is.

    Programming noise may take a weight beyond the targets; the last pair carries what is more.
    """
    most = max(abs(end) for end in span)
    within = programmed.clamp(-most, most)
    devices, scaling = _conductances(model, within, (-most, most))
    beyond = (programmed - within) * scaling["scale_ratio"]
    *before, plus, minus = devices
    return [*before, plus + beyond.clamp(min=0.0), minus + (-beyond).clamp(min=0.0)], scaling


def _weights(model: BaseNoiseModel, devices: list[Tensor], scaling: dict[str, Any]) -> Tensor:
    weights: Tensor = model.g_converter.convert_back_to_weights(devices, scaling)
    return weights.view_as(devices[0])
