"""A model in training on the crossbar: its forward pass is that of the simulated device, and the gradient passes.

What the crossbar computes comes from the code that simulates it in inference: cells of `LayerTiles`, programmed and
aged anew for every step, converters and noise of `FusedLayer`. Training adds the gradient alone, straight through what
has none: conductances count as the weights that they stand for, rounding and noise as nothing, and what was clipped as
clipped (Rasch et al., Nat. Commun. 2023, 14:5282). The range of every DAC is learned with the weights.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.seeding import derive_seed, torch_generator
from nestevo_hw.crossbar.devices import DevicePreset
from nestevo_hw.crossbar.geometry import Layer
from nestevo_hw.crossbar.gradients import PassingLayer, check_gradients, through
from nestevo_hw.crossbar.layers import NO_CONVERTERS
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tiles import LayerTiles, RowSlice

YOUNGEST_S = 1.0
"""Least age that is drawn for a device whose model of drift begins at its programming."""
_RANGE_SPEED = 10.0
"""How much faster the logarithm of an input range learns than a weight: ranges lie far apart, weights do not."""


class HardeningLayer(PassingLayer):
    """A layer on the crossbar with gradients to its digital weight and bias, its input and its input range.

    Args:
        tiles: of the layer; they are written anew by every `draw`.
        layer: digital, whose parameters learn.
        input_range: full scale of the DAC to begin with.
        output_bound: full scale of the ADCs, which stays.
        drop_connect: share of the cells that count as empty in a step, others each time.
    """

    def __init__(
        self, tiles: LayerTiles, layer: Layer, *, input_range: float, output_bound: float, drop_connect: float = 0.0
    ) -> None:
        io = tiles.preset.converters
        # In a tuple: the parameter is the digital layer's own, and not registered here.
        self._source, self._tiles, self.perfect, self._drop = (layer.weight,), tiles, io is None, drop_connect
        self._lost: Tensor | None = None
        super().__init__(tiles, layer, io or NO_CONVERTERS)
        self.bias = None if layer.bias is None else layer.get_parameter("bias")
        begin = 0.0 if io is None else math.log(input_range) / _RANGE_SPEED
        self.speed_range = nn.Parameter(torch.tensor(begin, device=layer.weight.device))
        if io is not None:
            self.set_output_bound(output_bound, tiles)

    @property
    def learned_range(self) -> Tensor:
        """Full scale of the DAC; its logarithm is what is learned."""
        return (self.speed_range * _RANGE_SPEED).exp()

    def draw(self, generation: int, age_s: float, io_seed: int) -> None:
        """Program the present weights and let them age; all noise follows from the arguments.

        Args:
            generation: number of the programming.
            age_s: time after it, seconds.
            io_seed: of the noise of the products.
        """
        tiles = self._tiles
        with torch.no_grad():
            tiles.set_target(self._source[0])
            tiles.program(generation, chip=generation)
            tiles.age(age_s)
            if self._drop:
                generator = torch_generator(io_seed, "drop")
                self._lost = (torch.rand(tiles.weight.shape, generator=generator) < self._drop).to(tiles.weight.device)
        self.install(tiles)
        self.restart_noise(io_seed)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Same arguments and shapes as the digital layer."""
        return self._computed(input, 1.0 if self.perfect else self.learned_range, output_size)

    def _slices(self, tiles: LayerTiles) -> list[RowSlice]:
        """The cells with the gradient of the digital weight, divided by the largest of its column as they are.

        Of the digits of bit slicing the first carries it all: its column is scaled as the weight is.
        """
        target, outputs, found = self.geometry.matrix(self._source[0]), len(tiles.target), []
        for part, scale in zip(tiles.slices(), tiles.scale[:, :outputs], strict=True):
            rows = slice(part.start, part.start + part.weight.shape[1])
            own = target[:, rows] / torch.where(scale > 0, scale, 1.0)[:, None]
            rest = len(part.weight) - outputs
            smooth = own if not rest else torch.cat([own, own.new_zeros(rest, own.shape[1])])
            weight = through(smooth, part.weight)
            if self._lost is not None:
                weight = weight.masked_fill(self._lost[:, rows], 0.0)
            found.append(replace(part, weight=weight))
        return found

    def _set(self, name: str, value: Tensor) -> None:
        setattr(self, name, value)  # no buffer: it leads back to the weight

    def _input_codes(self, x: Tensor, full_scale: float | Tensor) -> Tensor:
        return x if self.perfect else super()._input_codes(x, full_scale)


class CrossbarTraining(nn.Module):
    """Puts the layers of a digital model on the crossbar for single steps of its training.

    Its own parameters are the input ranges: train them with the model's. The model stays what it is, so its weights are
    those to save. BatchNorm and all else compute as the model says; in eval mode that is what they do on the device.

    Args:
        model: digital, opened into layers; its layers are called with gradients in `on_crossbar`.
        teacher: the same model on the device, calibrated: which layers go onto which tiles, and where ranges begin.
        seed: of all noise.
        drop_connect: share of the cells that count as empty, others in each step.

    Raises:
        ConfigError: the device has noise that no gradient passes (input noise).
    """

    def __init__(self, model: nn.Module, teacher: AnalogTeacher, *, seed: int, drop_connect: float = 0.0) -> None:
        super().__init__()
        check_gradients(teacher.preset, teacher.backend)
        self._seed, ranges, bounds = seed, teacher.input_ranges, teacher.output_bounds
        self._layers: dict[str, tuple[nn.Module, HardeningLayer]] = {}
        for placed in teacher.report.analog:
            layer: Any = model.get_submodule(placed.name)
            preset = teacher.preset.at(placed.name)
            if preset.converters is not None and not ranges.get(placed.name):
                continue  # no frame reaches it
            tiles = LayerTiles(placed.name, layer, preset, placed.tile, derive_seed(seed, "hardening"))
            hardening = HardeningLayer(
                tiles, layer, input_range=ranges.get(placed.name, 1.0),
                output_bound=bounds.get(placed.name, math.inf), drop_connect=drop_connect,
            )  # fmt: skip
            self._layers[placed.name] = layer, hardening
        learned = [hardening.speed_range for _, hardening in self._layers.values() if not hardening.perfect]
        self.ranges = nn.ParameterList(learned)

    @property
    def input_ranges(self) -> dict[str, float]:
        """By layer with converters: the magnitude of input at which its DAC clips, as learned so far."""
        return {
            name: float(layer.learned_range.detach()) for name, (_, layer) in self._layers.items() if not layer.perfect
        }

    @contextmanager
    def on_crossbar(self, generation: int, age_s: float) -> Iterator[None]:
        """Program the model's present weights, age them, and let the model compute with them for the time of a block.

        Args:
            generation: number of the programming; another number is another chip.
            age_s: time after programming, seconds.

        Raises:
            MappingError: weights that no conductance can hold.
        """
        with ExitStack() as leaving:
            for name, (layer, hardening) in self._layers.items():
                hardening.draw(generation, age_s, derive_seed(self._seed, "io", name, generation, repr(age_s)))
                layer.forward = hardening.forward
                leaving.callback(layer.__dict__.pop, "forward")
            yield

    @torch.no_grad()
    def clip_weights(self, deviations: float) -> None:
        """Clip the weights of every output at so many of their root mean squares: outliers set a column's scale.

        What a band of groups has of other groups is no weight of the output, and does not count.
        """
        for layer, hardening in self._layers.values():
            weight, geometry = layer.get_parameter("weight"), hardening.geometry
            matrix = geometry.matrix(weight)
            own = weight.numel() / len(matrix)  # each weight stands in one place
            most = deviations * (matrix.square().sum(1, keepdim=True) / own).sqrt()
            weight.copy_(geometry.weight(torch.minimum(torch.maximum(matrix, -most), most)))


def drawn_age(preset: DevicePreset, most_s: float, generator: torch.Generator) -> float:
    """An age to train at, seconds: log-uniform up to `most_s`, or one of those at which the device was characterised.

    Raises:
        ConfigError: the device has no model for `most_s`.
    """
    preset.check_time(most_s)
    if most_s == 0.0:
        return 0.0
    draw = float(torch.rand((), generator=generator))
    known = [set(one.times_s) for one in preset.everywhere if one.times_s is not None]
    if known:
        times = sorted(time for time in set.intersection(*known) if time <= most_s)
        return times[int(draw * len(times))]
    least = min(max(YOUNGEST_S, *(one.earliest_s for one in preset.everywhere)), most_s)
    return float(min(least * (most_s / least) ** draw, most_s))
