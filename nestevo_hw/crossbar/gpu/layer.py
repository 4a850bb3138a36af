"""A layer on the crossbar that one Triton kernel computes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nestevo_hw.base.errors import MappingError
from nestevo_hw.crossbar.devices import ConverterModel
from nestevo_hw.crossbar.geometry import Layer
from nestevo_hw.crossbar.gpu import launch
from nestevo_hw.crossbar.gpu.operands import Plan, Precision, code_dtype, encoded, usable
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.tiles import LayerTiles
from nestevo_hw.crossbar.wires import WIRE_TO_CELL_CONDUCTANCE, behind_ladder, seen_from_column_end

_WORD = (1 << 31) - 1
_MAX_DIMS = 2
_SQUARES = 256.0
"""The kernel divides squared codes by it in formats other than fixed, so that they stay within half precision."""


def served(tiles: LayerTiles) -> bool:
    """Whether there is a kernel for a layer: not for grouped ones on several bands, and none with three dimensions."""
    return tiles.geometry.bands == 1 and tiles.geometry.dims <= _MAX_DIMS


class KernelLayer(FusedLayer):
    """What `FusedLayer` computes, slice after slice in the registers of one kernel.

    Without noise the DAC codes are those of `FusedLayer` bit for bit, and of the ADC codes all but those whose sum lies
    within rounding of the border between two. Noise has the same distribution and other values: it is counter-based
    (`crossbar.gpu.kernel`). A not-a-number among the inputs of an image, or the vector of a linear layer, makes all its
    outputs one.

    Args:
        tiles: of a layer that is `served`.
        layer: the digital layer.
        converters: of the tiles.
        precision: number format of the products; float32 takes its place where it would not hold the codes.
        blocks: rows and columns of a program's block; None: the fastest, found out on the first call.
    """

    def __init__(
        self,
        tiles: LayerTiles,
        layer: Layer,
        converters: ConverterModel,
        precision: Precision = "fixed",
        blocks: tuple[int, int] | None = None,
    ) -> None:
        # Before the parent's: it installs the tiles.
        self.precision = usable(precision, converters.dac_bits, max(tiles.row_splits))
        self._blocks, self._plan = blocks, Plan.of(tiles.geometry, tiles.row_splits)
        self._units = dict.fromkeys(("cells", "noisy", "lost"), 1.0)
        super().__init__(tiles, layer, converters)

    def install(self, tiles: LayerTiles) -> None:
        """Take over the present conductances of the tiles."""
        io, per_code, parts = self._converters, self._dac_step / self._adc_step, tiles.slices()
        weights = [part.weight for part in parts]
        self._columns = len(parts[0].weight)
        seen = weights
        if io.ir_drop and io.ir_drop_model == "ladder":
            seen = [behind_ladder(weight, io.ir_drop, pairs=tiles.preset.pairs) for weight in weights]
        self._encode("cells", [weight * per_code for weight in seen], digits=3)
        if io.read_noise and not self._equally_noisy:
            self._encode("noisy", [weight.abs() for weight in weights], digits=1)
        if self._approximate_drop:
            lost = [
                weight * (seen_from_column_end(weight.shape[1]).to(weight) * io.ir_drop * per_code)
                for weight in weights
            ]
            self._encode("lost", lost, digits=2)
        self._set("scale", torch.stack([part.scale for part in parts]) * self._adc_step)
        if io.column_calibration:
            offsets = [torch.zeros_like(part.scale) if part.offset is None else part.offset for part in parts]
            self._set("offset", torch.stack(offsets))
        self._set("table", self._plan.table().to(weights[0].device))
        self._set("spans", self._plan.code_spans().to(weights[0].device))

    def _encode(self, name: str, parts: list[Tensor], *, digits: int) -> None:
        terms, self._units[name] = encoded(self._plan.arranged(parts), self.precision, digits=digits)
        # Two terms carry products; what scales noise and IR drop needs no more than one.
        self._set(name, terms if name == "cells" or self.precision == "fixed" else terms[:1].contiguous())

    @torch.no_grad()
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Same arguments and shapes as the digital layer."""
        if self._require_range() == 0.0:
            return self._unused(input, output_size)
        if input.numel() == 0:
            return self._zeros(input, output_size)
        whole = self._digits == 1 and not self.geometry.transposed
        columns = self._launched(input, apart=False, bias=self.bias if whole else None)
        return columns if whole else self._outputs(columns, output_size)

    @torch.no_grad()
    def output_codes(self, x: Tensor) -> Iterator[Tensor]:
        """See `FusedLayer`."""
        yield from self._launched(x, apart=True, bias=None)

    def _launched(self, x: Tensor, *, apart: bool, bias: Tensor | None) -> Tensor:
        """(..., columns, ...) outputs, or (slices, ..., columns, ...) ADC codes of each slice."""
        if x.device.type == "cpu" and not launch.interpreted():
            raise MappingError(
                f"{self.name} is computed by a kernel for GPUs but got an input on the CPU; move model and frames to "
                "the GPU, or use backend fused"
            )
        self._calls += 1
        images, leading = self._as_images(self.geometry.bordered(x))
        with torch.cuda.device_of(x):
            codes, broken = launch.quantised(
                self._plan, images, self.get_buffer("spans"), code_dtype(self.precision),
                full_scale=self._require_range(), step=self._dac_step if self._converters.dac_bits else None,
            )  # fmt: skip
            out = launch.multiplied(self._call(apart=apart, bias=bias), codes, broken, like=images)
        # As the digital layer has it: the vectors of a linear layer last, no line of height one, no batch of one.
        at = 1 if apart else 0
        if not self.geometry.dims:
            return out.reshape(*out.shape[:at], *leading, self._columns)
        if self.geometry.dims == 1:
            out = out.squeeze(-2)
        return out if leading else out.squeeze(at)

    def _as_images(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """(N, channels, height, width), and the leading dimensions of the layer's output; of a single image none."""
        dims = self.geometry.dims
        if not dims:
            return x.reshape(-1, x.shape[-1], 1, 1), tuple(x.shape[:-1])
        leading = tuple(x.shape[: x.ndim - dims - 1])
        images = x if leading else x.unsqueeze(0)
        return images.unsqueeze(-2) if dims == 1 else images, leading

    def _call(self, *, apart: bool, bias: Tensor | None) -> launch.Call:
        """Everything about this call but its input."""
        io, units = self._converters, self._units
        power = (io.read_noise * self._dac_step / self._adc_step) ** 2
        noise = 0 if not io.output_noise else 1
        if io.read_noise:
            noise = 2 if self._equally_noisy else 3
        if noise == 3:
            power *= units["noisy"] * (1.0 if self.precision == "fixed" else _SQUARES)
        return launch.Call(
            precision=self.precision, plan=self._plan, cells=self.get_buffer("cells"),
            noisy=getattr(self, "noisy", None), lost=getattr(self, "lost", None), scale=self.get_buffer("scale"),
            offset=getattr(self, "offset", None), bias=bias, table=self.get_buffer("table"), apart=apart, noise=noise,
            rounds=io.adc_bits > 0, full_scale=self._require_range(), unit=units["cells"],
            current_unit=units["cells"] * self._adc_step / WIRE_TO_CELL_CONDUCTANCE, lost_unit=units["lost"],
            power_unit=power, sigma=io.output_noise / self._adc_step, limit=self._limit, inl=self._inl,
            seed=(self.noise_seed & _WORD, (self.noise_seed >> 31) & _WORD), number=self._calls, blocks=self._blocks,
        )  # fmt: skip
