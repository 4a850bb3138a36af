"""What stands in a model for a layer on the crossbar: aihwkit's own tiles, or the same in native operations.

Both keep the bias as an ordinary parameter called `bias`: the digital part of a state dict keeps its names.
"""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import ConverterModel
from nestevo_hw.crossbar.gaussian import NoiseSource
from nestevo_hw.crossbar.placement import explicit_padding, pair
from nestevo_hw.crossbar.tiles import LayerTiles
from nestevo_hw.errors import MappingError
from nestevo_hw.seeding import seeded


def plain_layer(layer: nn.Conv2d | nn.Linear, weight: Tensor) -> nn.Conv2d | nn.Linear:
    """A copy of `layer` with another weight, (outputs, inputs) or the layer's own shape; inference only."""
    replacement = copy.deepcopy(layer).requires_grad_(requires_grad=False)
    with torch.no_grad():
        replacement.weight.copy_(weight.reshape(layer.weight.shape))
    return replacement


class CrossbarLayer(nn.Module):
    """Common to both: the geometry of the digital layer, its bias, and noise that can be started again."""

    bias: nn.Parameter | None

    def __init__(self, name: str, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.name = name
        self.weight_shape = tuple(layer.weight.shape)
        self.convolution: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None
        if isinstance(layer, nn.Conv2d):
            padding = explicit_padding(layer)
            if padding is None:
                raise MappingError(f"{name}: padding='same' is uneven for this kernel")
            self.convolution = (pair(layer.stride), padding, pair(layer.dilation))
        bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        self.register_parameter("bias", bias)
        self.restart_noise(0)
        self.input_range: float | None = None
        """Full scale of the DAC in units of the layer's input; None before calibration."""

    def restart_noise(self, seed: int) -> None:
        """Draw the noise of the next calls as if no call had been made before."""
        self._noise_seed, self._calls, self._noise = seed, 0, NoiseSource(seed)

    def extra_repr(self) -> str:
        """Name and shape in the printed model."""
        return f"{self.name}, shape={self.weight_shape}, input_range={self.input_range}"

    def _column(self, vector: Tensor) -> Tensor:
        return vector.view(-1, 1, 1) if self.convolution else vector

    def _require_range(self) -> float:
        if self.input_range is None:
            raise MappingError(f"{self.name} has no input range; call calibrate() with frames that reach this layer")
        return self.input_range


class ReferenceLayer(CrossbarLayer):
    """aihwkit's torch tile itself: slow, and the oracle of the other backends."""

    def __init__(self, tiles: LayerTiles, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__(tiles.name, layer)
        # In a tuple, so that the tiles are no submodule: their state dict holds more than tensors.
        self._tiles = (tiles,)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the digital layer."""
        (tiles,) = self._tiles
        if tiles.preset.converters is not None:
            self._require_range()
        if x.numel() == 0:  # aihwkit refuses empty batches, which a detector without proposals sends
            return self._empty(x)
        self._calls += 1
        with seeded(self._noise_seed, self._calls):  # aihwkit draws from torch's global generator
            y: Tensor = tiles.analog(x)
        return y if self.bias is None else y + self._column(self.bias)

    def _empty(self, x: Tensor) -> Tensor:
        weight = x.new_empty(self.weight_shape)
        if self.convolution is None:
            return F.linear(x, weight)
        stride, padding, dilation = self.convolution
        return F.conv2d(x, weight, None, stride, padding, dilation)


class FusedLayer(CrossbarLayer):
    """Converters and noise as native operations: the input is quantised once for all tiles of the layer.

    Per input slice s and output o, with DAC codes c, conductances w and output noise n (aihwkit's order):
    y_o = bias_o + sum_s scale_so * adc_step * clamp(round((sum_k c_k * dac_step * w_ok + n) / adc_step)).
    """

    def __init__(self, tiles: LayerTiles, layer: nn.Conv2d | nn.Linear, converters: ConverterModel) -> None:
        super().__init__(tiles.name, layer)
        self._converters = converters
        self._dac_step = 2.0 * converters.step(converters.dac_bits) if converters.dac_bits else 1.0
        bound = converters.output_bound
        self._adc_step = 2.0 * bound * converters.step(converters.adc_bits) if converters.adc_bits else 1.0
        self._limit = bound / self._adc_step
        self._channels: list[tuple[int, int]] = []
        self.install(tiles)

    def install(self, tiles: LayerTiles) -> None:
        """Take over the present conductances of the tiles."""
        kernel = self.weight_shape[2] * self.weight_shape[3] if self.convolution else 1
        self._channels = []
        for index, part in enumerate(tiles.slices()):
            rows = part.weight.shape[1]
            first, last = part.start // kernel, -(-(part.start + rows) // kernel)
            before = part.start - first * kernel
            after = last * kernel - part.start - rows
            # A tile border may cut a channel's kernel in two; the other part's cells are zero here.
            weight = F.pad(part.weight * (self._dac_step / self._adc_step), (before, after))
            shape = (self.weight_shape[0], last - first, *self.weight_shape[2:])
            self._set(f"weight_{index}", weight.reshape(shape))
            self._set(f"scale_{index}", self._column(part.scale * self._adc_step).contiguous())
            self._channels.append((first, last - first))

    def _set(self, name: str, value: Tensor) -> None:
        present = getattr(self, name, None)
        if present is None:
            self.register_buffer(name, value, persistent=False)
        else:
            present.copy_(value)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the digital layer."""
        full_scale = self._require_range()
        total: Tensor | None = None
        for index, codes in enumerate(self.output_codes(x)):
            scale = getattr(self, f"scale_{index}") * full_scale
            total = codes.mul_(scale) if total is None else total.addcmul_(codes, scale)
        if total is None:
            raise MappingError(f"{self.name} has no tiles")
        return total if self.bias is None else total.add_(self._column(self.bias))

    def output_codes(self, x: Tensor) -> Iterator[Tensor]:
        """ADC codes of one input slice after the other, each in the shape of the layer's output."""
        codes = self._input_codes(x, self._require_range())
        for index in range(len(self._channels)):
            yield self._convert(self._product(codes, index))

    def _input_codes(self, x: Tensor, full_scale: float) -> Tensor:
        # The same sequence of float operations as aihwkit's, so that no DAC code differs from the tile's.
        codes = x.clamp(-full_scale, full_scale).div_(full_scale)
        return codes.div_(self._dac_step).round_() if self._converters.dac_bits else codes

    def _product(self, codes: Tensor, index: int) -> Tensor:
        first, count = self._channels[index]
        weight: Tensor = getattr(self, f"weight_{index}")
        if self.convolution is None:
            return F.linear(codes.narrow(-1, first, count), weight)
        stride, padding, dilation = self.convolution
        return F.conv2d(codes.narrow(-3, first, count), weight, None, stride, padding, dilation)

    def _convert(self, y: Tensor) -> Tensor:
        if not self._converters.output_noise:
            return self._round_and_clip_(y)
        y = y.contiguous()
        sigma = self._converters.output_noise / self._adc_step
        for part, noise in self._noise.parts(y):
            self._round_and_clip_(part.add_(noise, alpha=sigma))
        return y

    def _round_and_clip_(self, y: Tensor) -> Tensor:
        if self._converters.adc_bits:
            y.round_()
        return y.clamp_(-self._limit, self._limit)
