"""What stands in a model for a layer on the crossbar, computed by native operations.

The bias stays an ordinary parameter called `bias`: the digital part of a state dict keeps its names.
"""

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nestevo_hw.base.errors import MappingError
from nestevo_hw.crossbar.devices import ConverterModel
from nestevo_hw.crossbar.gaussian import NoiseSource
from nestevo_hw.crossbar.geometry import Layer
from nestevo_hw.crossbar.ieee import exact, ieee_products
from nestevo_hw.crossbar.tiles import LayerTiles, RowSlice
from nestevo_hw.crossbar.valueless import ValuelessWeight
from nestevo_hw.crossbar.wires import WIRE_TO_CELL_CONDUCTANCE, behind_ladder, loss, seen_from_column_end

NO_CONVERTERS = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=math.inf)
"""Sums as they are."""


def plain_layer(layer: Layer, weight: Tensor) -> Layer:
    """A copy of `layer` with another weight of its shape, flattened or not; inference only."""
    replacement = copy.deepcopy(layer).requires_grad_(requires_grad=False)
    with torch.no_grad():
        replacement.weight.copy_(weight.reshape(layer.weight.shape))
    return replacement


def folded_layer(layer: Layer, tiles: LayerTiles) -> Layer:
    """A copy of `layer` that computes with the present cells of its tiles, those beside a group's weights included."""
    if tiles.geometry.banded == 1:
        return exact(plain_layer(layer, tiles.geometry.weight(tiles.effective_weight())))
    replacement = copy.deepcopy(layer).requires_grad_(requires_grad=False)
    weight = tiles.geometry.band_weight(tiles.effective_weight())
    replacement.weight = nn.Parameter(weight, requires_grad=False)
    if isinstance(replacement, _ConvNd):
        replacement.groups = tiles.geometry.bands
    return exact(replacement)


class CrossbarLayer(nn.Module):
    """What all simulations share: the geometry of the digital layer, its bias, and noise that can be restarted."""

    bias: nn.Parameter | None

    def __init__(self, tiles: LayerTiles, layer: Layer) -> None:
        super().__init__()
        self.name, self.geometry, self._digits = tiles.name, tiles.geometry, tiles.preset.digits
        bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        self.register_parameter("bias", bias)
        self.register_buffer("_like", layer.weight.new_empty(0), persistent=False)
        self.restart_noise(0)
        self.input_range: float | None = None
        """Full scale of the DAC in units of the layer's input; None before calibration, 0 if that saw only zeros."""
        io = tiles.preset.converters
        self.output_bound = math.inf if io is None else io.output_bound
        """Full scale of the ADCs, in units of (full-scale input x largest weight of the column)."""

    @property
    def weight(self) -> Tensor:
        """Shape, type and place only: whoever computed with a weight itself would get round the tiles.

        `AnalogTeacher.effective_weights` has the values, for people to look at.
        """
        return ValuelessWeight.of(self.name, self.geometry.shape, self.get_buffer("_like"))

    def install(self, tiles: LayerTiles) -> None:
        """Take over the present conductances of the tiles."""
        raise NotImplementedError

    def set_output_bound(self, bound: float, tiles: LayerTiles) -> None:
        """Give the ADCs another full scale."""
        raise NotImplementedError

    def restart_noise(self, seed: int) -> None:
        """Draw the noise of the next calls as if no call had been made before."""
        self.noise_seed, self._calls, self._noise = seed, 0, NoiseSource(seed)

    def extra_repr(self) -> str:
        """Name and shape in the printed model."""
        return f"{self.name}, shape={self.geometry.shape}, input_range={self.input_range}"

    def _outputs(self, columns: Tensor, output_size: list[int] | None) -> Tensor:
        """The layer's output from its columns: adds digits, overlapping kernels and bias.

        Args:
            columns: (..., digits * outputs of the matrix, ...).
            output_size: of a transposed convolution.
        """
        if self._digits > 1:
            dim = columns.ndim + self.geometry.channels
            columns = torch.sum(columns.unflatten(dim, (self._digits, -1)), dim)
        y = self.geometry.spread(columns, output_size)
        return y if self.bias is None else y.add_(self.geometry.column(self.bias))

    def _require_range(self) -> float:
        if self.input_range is None:
            raise MappingError(f"{self.name} has no input range; calibrate it on frames that reach this layer")
        return self.input_range

    def _zeros(self, x: Tensor, output_size: list[int] | None) -> Tensor:
        """The layer's output for a weight of zeros: its bias."""
        geometry = self.geometry
        inputs, outputs = geometry.group
        kernel = () if geometry.transposed else geometry.kernel
        shape = (self._digits * outputs * geometry.groups, inputs * geometry.banded // geometry.places, *kernel)
        return self._outputs(geometry.product(geometry.bordered(x), x.new_zeros(shape)), output_size)

    def _unused(self, x: Tensor, output_size: list[int] | None) -> Tensor:
        """Output of a layer that saw only zeros when it was calibrated: of zeros it is exact, of others unknown."""
        if bool(x.any()):
            raise MappingError(
                f"{self.name} got nothing but zeros when it was calibrated, so its converters have no range for these "
                "inputs; calibrate it on more frames, or on more varied ones"
            )
        return self._zeros(x, output_size)


def _variance_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where it is native: the variance of noise needs no more than its eight bits, and takes half the time."""
    match device.type:
        case "cuda":
            native = torch.cuda.get_device_capability(device) >= (8, 0)
        case "cpu":
            native = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
        case _:
            native = False
    return torch.bfloat16 if native else torch.float32


_CUBIC = 1.5 * 3**0.5
"""1 / the largest value of u - u^3 for u of 0 to 1."""


class FusedLayer(CrossbarLayer):
    """Converters and noise as native operations: the input is quantised once for all tiles of the layer.

    Per input slice s and column o, with DAC codes c, conductances w, IR drop d and noise n (aihwkit's order):
    y_o = bias_o + sum_s scale_so * adc_step * clamp(round((sum_k c_k * dac_step * w_ok - d_o + n_o) / adc_step)).
    """

    def __init__(self, tiles: LayerTiles, layer: Layer, converters: ConverterModel) -> None:
        super().__init__(tiles, layer)
        self._converters = converters
        self._dac_step = 2.0 * converters.step(converters.dac_bits) if converters.dac_bits else 1.0
        self._approximate_drop = converters.ir_drop > 0 and converters.ir_drop_model == "approximation"
        self._inl = _CUBIC * converters.adc_inl
        self._kernel = () if self.geometry.transposed else self.geometry.kernel
        self._equally_noisy = (
            converters.read_noise > 0 and converters.read_noise_law == "constant" and self.geometry.bands == 1
        )
        """Whether all columns of an input slice have the same read noise."""
        self._channels: list[tuple[int, int]] = []
        self.set_output_bound(converters.output_bound, tiles)

    def set_output_bound(self, bound: float, tiles: LayerTiles) -> None:
        """See `CrossbarLayer`."""
        bits = self._converters.adc_bits
        self._adc_step = 2.0 * bound * self._converters.step(bits) if bits else 1.0
        self._limit, self.output_bound = bound / self._adc_step, bound
        self.install(tiles)

    def install(self, tiles: LayerTiles) -> None:
        """Take over the present conductances of the tiles."""
        io, per_code = self._converters, self._dac_step / self._adc_step
        slices = self._slices(tiles)
        self._channels = [self._span(part)[:2] for part in slices]
        for index, part in enumerate(slices):
            rows = part.weight.shape[1]
            seen = part.weight
            if io.ir_drop and io.ir_drop_model == "ladder":
                seen = behind_ladder(seen, io.ir_drop, pairs=tiles.preset.pairs)
            self._place(f"weight_{index}", part, seen * per_code)
            self._set(f"scale_{index}", self.geometry.column(part.scale * self._adc_step).contiguous())
            if io.column_calibration:
                offset = torch.zeros_like(part.scale) if part.offset is None else part.offset
                self._set(f"offset_{index}", self.geometry.column(offset).contiguous())
            if io.read_noise and not self._equally_noisy:
                cells = part.weight.abs() if io.read_noise_law == "pcm" else torch.ones_like(part.weight)
                variance = cells * (io.read_noise * per_code) ** 2
                self._place(f"variance_{index}", part, variance, dtype=_variance_dtype(variance.device))
            if self._approximate_drop:
                current = part.weight.abs() * (self._dac_step * rows / WIRE_TO_CELL_CONDUCTANCE)
                self._place(f"current_{index}", part, current)
                lost = part.weight * (seen_from_column_end(rows).to(part.weight) * io.ir_drop * per_code)
                self._place(f"lost_{index}", part, lost)
        if self._equally_noisy:
            members = torch.block_diag(*(part.weight.new_ones(1, part.weight.shape[1]) for part in slices))
            variance = members * (io.read_noise * per_code) ** 2
            self._set("variance", variance.reshape(len(slices), -1, *self._kernel))

    def _slices(self, tiles: LayerTiles) -> list[RowSlice]:
        """The cells as they compute."""
        return tiles.slices()

    def _span(self, part: RowSlice) -> tuple[int, int, int, int]:
        """First channel and number of channels of a slice, and the rows of them before and after it.

        A tile border may cut a channel's kernel in two.
        """
        kernel = self.geometry.places
        end = part.start + part.weight.shape[1]
        first, last = part.start // kernel, -(-end // kernel)
        return first, last - first, part.start - first * kernel, last * kernel - end

    def _place(self, name: str, part: RowSlice, cells: Tensor, dtype: torch.dtype = torch.float32) -> None:
        """Keep (columns, rows) values of the cells of a slice as a weight over the slice's channels."""
        _, channels, before, after = self._span(part)
        weight = F.pad(cells, (before, after)).reshape(len(cells), channels, *self._kernel)
        self._set(name, weight.to(dtype))

    def _set(self, name: str, value: Tensor) -> None:
        present = getattr(self, name, None)
        if present is None:
            self.register_buffer(name, value, persistent=False)
        else:
            present.copy_(value)

    @torch.no_grad()
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Same arguments and shapes as the digital layer."""
        full_scale = self._require_range()
        if full_scale == 0.0:
            return self._unused(input, output_size)
        return self._computed(input, full_scale, output_size)

    def _computed(self, x: Tensor, full_scale: float | Tensor, output_size: list[int] | None) -> Tensor:
        with ieee_products(x.device):
            return self._outputs(self._total(x.float(), full_scale), output_size)

    def _total(self, x: Tensor, full_scale: float | Tensor) -> Tensor:
        """What all columns give, added up over the input slices."""
        total: Tensor | None = None
        for index, codes in enumerate(self._codes(x, full_scale)):
            scale = getattr(self, f"scale_{index}") * full_scale
            total = codes.mul_(scale) if total is None else total.addcmul_(codes, scale)
            if self._converters.column_calibration:
                total += getattr(self, f"offset_{index}") * full_scale
        if total is None:
            raise MappingError(f"{self.name} has no tiles")
        return total

    def column_sums(self, x: Tensor) -> Iterator[Tensor]:
        """What the columns of one input slice after the other put out, (values, columns).

        In units of (full-scale input x largest weight of the column): before any digital scale.
        """
        for codes in self.output_codes(x):
            columns = codes.movedim(self.geometry.channels, -1)
            yield columns.reshape(-1, columns.shape[-1]).mul_(self._adc_step)

    def output_codes(self, x: Tensor) -> Iterator[Tensor]:
        """ADC codes of one input slice after the other, (..., columns, ...) over the positions of the products."""
        codes = self._codes(x.float(), self._require_range())
        while True:
            with ieee_products(x.device):  # which must not hold while whoever asked computes
                found = next(codes, None)
            if found is None:
                return
            yield found

    def _codes(self, x: Tensor, full_scale: float | Tensor) -> Iterator[Tensor]:
        codes = self._input_codes(self.geometry.bordered(x), full_scale)
        sigma = self._converters.output_noise / self._adc_step
        variance = self._product(codes.square(), "variance") if self._equally_noisy else None
        for index in range(len(self._channels)):
            inputs = self._inputs_of(codes, index)
            y = self._product(inputs, f"weight_{index}")
            if self._approximate_drop:
                current = self._product(inputs.abs(), f"current_{index}")
                y -= loss(current) * self._product(inputs, f"lost_{index}")
            if variance is not None:
                yield self._convert(y, self._deviation(variance.narrow(self.geometry.channels, index, 1)))
            elif self._converters.read_noise:
                own = inputs.square().to(getattr(self, f"variance_{index}").dtype)
                yield self._convert(y, self._deviation(self._product(own, f"variance_{index}").float()))
            else:
                yield self._convert(y, sigma)

    def _inputs_of(self, codes: Tensor, index: int) -> Tensor:
        """The channels that an input slice takes of every band."""
        first, count = self._channels[index]
        dim, bands = codes.ndim + self.geometry.channels, self.geometry.bands
        if bands == 1:
            return codes.narrow(dim, first, count)
        by_band: Tensor = codes.unflatten(dim, (bands, -1))
        return by_band.narrow(dim + 1, first, count).flatten(dim, dim + 1)

    def _deviation(self, read_variance: Tensor) -> Tensor:
        """Standard deviation of all noise before the ADC, in its codes: independent sources add their variances."""
        sigma = self._converters.output_noise / self._adc_step
        return read_variance.add(sigma * sigma).clamp_(min=0.0).sqrt_()

    def _input_codes(self, x: Tensor, full_scale: float | Tensor) -> Tensor:
        # The same sequence of float operations as aihwkit's, so that no DAC code differs from the tile's.
        most = float(full_scale)
        codes = x.clamp(-most, most).div_(most)
        return codes.div_(self._dac_step).round_() if self._converters.dac_bits else codes

    def _product(self, codes: Tensor, name: str) -> Tensor:
        weight: Tensor = getattr(self, name)
        if self.geometry.bands == 1 or self._digits == 1:
            y: Tensor = self.geometry.product(codes, weight)
            return y
        digits = [self.geometry.product(codes, digit) for digit in weight.chunk(self._digits)]
        return torch.cat(digits, dim=self.geometry.channels)

    def _convert(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        if isinstance(sigma, float) and not sigma:
            return self._round_and_clip_(y)
        # Where channels lie last, the noise is drawn in that order, as it is in the order of the memory.
        last = y.ndim == 4 and not y.is_contiguous() and y.is_contiguous(memory_format=torch.channels_last)
        y = y if last else y.contiguous()
        if last and isinstance(sigma, Tensor):
            sigma = sigma.movedim(1, -1).contiguous()
        for part in self._noise.add_scaled(y.movedim(1, -1) if last else y, sigma):
            self._round_and_clip_(part)
        return y

    def _round_and_clip_(self, y: Tensor) -> Tensor:
        if self._inl:
            reached = y.clamp(-self._limit, self._limit).div_(self._limit)
            y.add_(reached - reached.pow(3), alpha=self._inl)
        if self._converters.adc_bits:
            y.round_()
        return y.clamp_(-self._limit, self._limit)


def error_free(tiles: LayerTiles, layer: Layer, input_range: float) -> FusedLayer:
    """The layer on tiles of the same size without any error; its `column_sums` are what an ADC should read."""
    probe = FusedLayer(tiles.ideal(), layer, NO_CONVERTERS)
    probe.input_range = input_range
    return probe
