"""aihwkit noise models of the laws of devices, for the conductance window that the device is used in.

aihwkit scales its polynomials with the largest conductance of its converter, so that a wider or narrower window
changes nothing. A cell does not do that: its noise is a property of its conductance in microsiemens. So the noise
model keeps the conductances that it was fitted for, and only the converter between weights and conductances takes the
device's own window.
"""

import math
from typing import TYPE_CHECKING

import torch
from aihwkit.inference.converter.base import BaseConductanceConverter
from aihwkit.inference.converter.conductance import (
    DualPairConductanceConverter,
    NPairConductanceConverter,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)
from aihwkit.inference.noise.base import BaseNoiseModel
from torch import Tensor

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.plugins import called, imported
from nestevo_hw.crossbar.devices.law import Curve, MeasuredLaw, ModelLaw

if TYPE_CHECKING:
    from nestevo_hw.crossbar.devices.preset import DevicePreset

_SMALLEST = 1e-7
"""Of x in logarithms and powers, as in aihwkit."""


def value_at(curve: Curve, conductance: Tensor) -> Tensor:
    """The curve at conductances in microsiemens, in their shape and type."""
    value = _form(curve, conductance)
    if curve.least is not None or curve.most is not None:
        value = value.clamp(min=curve.least, max=curve.most)
    return value


def _form(curve: Curve, g: Tensor) -> Tensor:
    if curve.constant is not None:
        return torch.full_like(g, curve.constant)
    if curve.target_us is not None and curve.values is not None:
        return _interpolated(g, g.new_tensor(curve.target_us), g.new_tensor(curve.values))
    x = g / float(curve.reference_us or 1.0)
    if curve.polynomial is not None:
        value = torch.zeros_like(x)
        for coefficient in reversed(curve.polynomial):
            value = value * x + coefficient
        return value
    x = x.clamp(min=_SMALLEST)
    if curve.logarithm is not None:
        return curve.logarithm[0] + curve.logarithm[1] * x.log()
    assert curve.power is not None
    return curve.power[0] * x ** curve.power[1]


def _interpolated(x: Tensor, points: Tensor, values: Tensor) -> Tensor:
    """Linear between points, constant beyond them."""
    right = torch.searchsorted(points, x.contiguous()).clamp(1, len(points) - 1)
    left = right - 1
    share = ((x - points[left]) / (points[right] - points[left])).clamp(0.0, 1.0)
    return torch.lerp(values[left], values[right], share)


class MeasuredNoiseModel(BaseNoiseModel):  # type: ignore[misc]  # aihwkit has no types
    """A `MeasuredLaw` in the form of aihwkit's noise models; conductances in microsiemens, times in seconds."""

    def __init__(self, law: MeasuredLaw, g_converter: BaseConductanceConverter) -> None:
        super().__init__(g_converter)
        self.law = law

    @torch.no_grad()
    def apply_programming_noise_to_conductance(self, g_target: Tensor) -> Tensor:
        """Conductances as programmed, from their targets."""
        law = self.law.programming
        if law is None:
            return g_target.clone()
        mean = g_target if law.mean_us is None else value_at(law.mean_us, g_target)
        return (mean + value_at(law.deviation_us, g_target) * torch.randn_like(g_target)).clamp(min=0.0)

    @torch.no_grad()
    def generate_drift_coefficients(self, g_target: Tensor) -> Tensor:
        """What each device keeps until it is programmed again: its exponent of drift, or its place in retention."""
        if self.law.retention:
            return torch.randn_like(g_target)
        law = self.law.drift
        if law is None:
            return torch.zeros_like(g_target)
        return (value_at(law.mean, g_target) + value_at(law.deviation, g_target) * torch.randn_like(g_target)).abs()

    @torch.no_grad()
    def apply_drift_noise_to_conductance(self, g_prog: Tensor, drift_noise_param: Tensor, t_inference: float) -> Tensor:
        """Conductances at a time after programming."""
        t0 = 0.0 if self.law.drift is None else self.law.drift.t0_s
        g = g_prog
        if self.law.retention:
            mean, deviation = self._changes(g_prog, t_inference * self.law.acceleration)
            g = g_prog + mean + deviation * drift_noise_param
        elif self.law.drift is not None:
            g = g_prog * (1.0 + t_inference * self.law.acceleration / t0) ** -drift_noise_param
        return self._read(g.clamp(min=0.0), g_prog, t_inference + t0)

    def _changes(self, g: Tensor, seconds: float) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the change since programming, between the two points beside this time."""
        points = self.law.retention
        right = next((i for i, point in enumerate(points) if point.time_s >= seconds), len(points) - 1)
        late, early = points[right], points[max(right - 1, 0)]
        mean, deviation = value_at(late.mean_us, g), value_at(late.deviation_us, g)
        if early is not late:
            share = math.log(seconds / early.time_s) / math.log(late.time_s / early.time_s)
            share = min(max(share, 0.0), 1.0)
            mean = torch.lerp(value_at(early.mean_us, g), mean, share)
            deviation = torch.lerp(value_at(early.deviation_us, g), deviation, share)
        return mean, deviation

    def _read(self, g: Tensor, g_prog: Tensor, seconds: float) -> Tensor:
        """One reading with its slow noise, which accumulates since `seconds` ago."""
        law = self.law.read_noise
        if law is None:
            return g
        grown = math.sqrt(max(math.log((seconds + law.t_read_s) / (2.0 * law.t_read_s)), 0.0))
        if law.relative is not None:
            spread = g * value_at(law.relative, g_prog)
        else:
            assert law.deviation_us is not None
            spread = value_at(law.deviation_us, g)
        return (g + spread * grown * torch.randn_like(g)).clamp(min=0.0)


def measured_model(law: MeasuredLaw, preset: "DevicePreset") -> BaseNoiseModel:
    """The noise model of a measured device in the window of a preset."""
    return MeasuredNoiseModel(law, _window(preset, SinglePairConductanceConverter()))


def class_model(law: ModelLaw, preset: "DevicePreset") -> BaseNoiseModel:
    """The noise model of a class, with the window of a preset.

    Raises:
        ConfigError: it cannot be imported or made, is no noise model, or its converter has no window.
    """
    module, _, name = law.model.partition(":")
    kind = imported(module, name)
    if not (isinstance(kind, type) and issubclass(kind, BaseNoiseModel)):
        raise ConfigError(f"model: need the class of an aihwkit noise model as module:Class, got {law.model!r}")
    model: BaseNoiseModel = called(kind, law.model, law.arguments)
    model.g_converter = _window(preset, model.g_converter)
    return model


def ideal_model(preset: "DevicePreset") -> BaseNoiseModel:
    """A noise model without noise."""
    return measured_model(MeasuredLaw(), preset)


def _window(preset: "DevicePreset", own: BaseConductanceConverter) -> BaseConductanceConverter:
    """A converter like `own` between weights and the conductances of a preset."""
    window = {"g_max": preset.g_max_us, "g_min": preset.g_min_us}
    if type(own) is SingleDeviceConductanceConverter and preset.pairs == 1:
        return SingleDeviceConductanceConverter(**window)
    pairs = type(own) in (SinglePairConductanceConverter, NPairConductanceConverter, DualPairConductanceConverter)
    if pairs and preset.pairs > 1:
        return NPairConductanceConverter(f_lst=[1.0] * preset.pairs, **window)
    if pairs and type(own) is SinglePairConductanceConverter:
        return SinglePairConductanceConverter(**window)
    raise ConfigError(
        f"device {preset.name}: its noise model maps weights by a {type(own).__name__}, which cannot "
        f"hold {preset.pairs} pairs of conductances a weight"
    )
