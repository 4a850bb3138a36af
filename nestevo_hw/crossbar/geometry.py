"""How a layer multiplies: its weight as a matrix of inputs and outputs, and what is done before and after it.

A grouped convolution is a block-diagonal matrix. Only the tiles on its diagonal exist: whole groups share a *band*, a
dense matrix with zeros beside the groups, and no tile reaches over two bands. A transposed convolution takes a product
for every input position; what it gives for each place of the kernel is added digitally where kernels overlap.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from nestevo_hw.crossbar.bands import groups_per_band

Layer = nn.Linear | _ConvNd
"""A layer that a matrix of weights computes."""
_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_SPREAD = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
Sides = tuple[int, ...]
"""One number for each spatial dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The matrix of a layer, without its values."""

    shape: tuple[int, ...]
    """Of the layer's weight."""
    groups: int = 1
    kernel: Sides = ()
    """Empty for a linear layer."""
    stride: Sides = ()
    padding: Sides = ()
    """Zeros on both sides of each dimension."""
    dilation: Sides = ()
    transposed: bool = False
    output_padding: Sides = ()
    border: tuple[int, ...] = ()
    """What is added around the input beforehand, in the order of `torch.nn.functional.pad`."""
    border_mode: str = "constant"
    banded: int = 1
    """Groups in a band."""

    @classmethod
    def of(cls, layer: nn.Module) -> "Geometry":
        """The geometry of a linear layer or a convolution of any kind."""
        if isinstance(layer, nn.Linear):
            return cls(shape=tuple(layer.weight.shape))
        if not isinstance(layer, _ConvNd):
            raise TypeError(f"{type(layer).__name__} is no convolution and no linear layer")
        one = cls(
            shape=tuple(layer.weight.shape), groups=layer.groups, kernel=layer.kernel_size, stride=layer.stride,
            padding=(0,) * len(layer.kernel_size), dilation=layer.dilation,
        )  # fmt: skip
        if isinstance(layer, _ConvTransposeNd):
            return replace(
                one, transposed=True, padding=_numbers(layer.padding), output_padding=_numbers(layer.output_padding)
            )
        # torch's own list of the border, the last dimension first: it resolves "same" and "valid".
        border = tuple(layer._reversed_padding_repeated_twice)
        if layer.padding_mode != "zeros":
            return replace(one, border=border, border_mode=layer.padding_mode)
        if border[::2] != border[1::2]:
            return replace(one, border=border)
        return replace(one, padding=border[::-2])

    def on_tiles(self, rows: int, columns: int) -> "Geometry":
        """The same layer with as many groups in a band as fit into a tile."""
        return replace(self, banded=groups_per_band(self.groups, *self.group, rows, columns))

    @property
    def group(self) -> tuple[int, int]:
        """(inputs, outputs) of the matrix of one group."""
        if self.transposed:
            return self.shape[0] // self.groups, math.prod(self.shape[1:])
        return math.prod(self.shape[1:]), self.shape[0] // self.groups

    @property
    def bands(self) -> int:
        """Dense matrices on the diagonal; 1 for a layer without groups."""
        return self.groups // self.banded

    @property
    def dims(self) -> int:
        """Spatial dimensions; 0 for a linear layer."""
        return len(self.kernel)

    @property
    def channels(self) -> int:
        """Dimension of the channels, or features, counted from the end."""
        return -1 - self.dims

    @property
    def places(self) -> int:
        """Rows of the matrix for each input channel: the kernel's places, unless it is transposed."""
        return 1 if self.transposed else math.prod(self.kernel)

    def matrix(self, weight: Tensor) -> Tensor:
        """(outputs, inputs of a band) from a weight in the layer's shape, flattened or not."""
        blocks = weight.reshape(self.groups, -1, self.group[0])
        if self.transposed:
            blocks = weight.reshape(self.groups, self.group[0], -1).transpose(1, 2)
        if self.banded == 1:
            return blocks.reshape(-1, self.group[0]).contiguous()
        inputs, outputs = self.group
        banded = blocks.new_zeros(self.bands, self.banded, outputs, self.banded, inputs)
        for k in range(self.banded):
            banded[:, k, :, k] = blocks.reshape(self.bands, self.banded, outputs, inputs)[:, k]
        return banded.reshape(-1, self.banded * inputs)

    def weight(self, matrix: Tensor) -> Tensor:
        """A weight in the layer's own shape from (outputs, inputs of a band): what `matrix` was made of."""
        inputs, outputs = self.group
        banded = matrix.reshape(self.bands, self.banded, outputs, self.banded, inputs)
        blocks = torch.stack([banded[:, k, :, k] for k in range(self.banded)], dim=1)
        return self._shaped(blocks.reshape(self.groups, outputs, inputs), self.shape)

    def band_weight(self, matrix: Tensor) -> Tensor:
        """The weight of a layer with `bands` groups that computes with all of `matrix`, cells beside groups too."""
        inputs, outputs = (self.banded * side for side in self.group)
        shape = (self.shape[0], self.shape[1] * self.banded, *self.shape[2:])
        return self._shaped(matrix.reshape(self.bands, outputs, inputs), shape)

    def _shaped(self, blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
        """(groups, outputs, inputs) as a layer's weight."""
        return (blocks.transpose(1, 2) if self.transposed else blocks).reshape(shape)

    def bordered(self, x: Tensor) -> Tensor:
        """The input with what the layer adds around it that a convolution cannot."""
        return F.pad(x, self.border, mode=self.border_mode) if self.border else x

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """(..., columns, ...) products of a bordered input with (columns, channels of a band, *kernel) weights.

        Args:
            x: (..., bands * channels of a band, ...).
            weight: columns band after band; for a transposed convolution without a kernel.
        """
        if not self.dims:
            return F.linear(x, weight)
        convolve = _CONVOLVE[self.dims]
        if self.transposed:
            one = (1,) * self.dims
            return convolve(x, weight.reshape(*weight.shape[:2], *one), groups=self.bands)
        return convolve(x, weight, None, self.stride, self.padding, self.dilation, self.bands)

    def spread(self, y: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Outputs of the matrix at their places: adds what a transposed convolution puts onto the same pixel.

        Args:
            y: (..., outputs of the matrix, ...).
            output_size: of a transposed convolution, as its forward takes it.
        """
        if not self.transposed:
            return y
        places = math.prod(self.kernel)
        outputs = y.shape[self.channels] // places
        onto = torch.eye(places, dtype=y.dtype, device=y.device).reshape(places, 1, *self.kernel)
        spread: Tensor = _SPREAD[self.dims](
            y, onto.repeat(outputs, *(1,) * (self.dims + 1)), None, self.stride, self.padding,
            self._output_padding(y, output_size), outputs, self.dilation,
        )  # fmt: skip
        return spread

    def _output_padding(self, y: Tensor, output_size: list[int] | None) -> Sides:
        if output_size is None:
            return self.output_padding
        wanted = list(output_size)[-self.dims :]
        smallest = (
            (side - 1) * s - 2 * p + d * (k - 1) + 1
            for side, s, p, d, k in zip(
                y.shape[-self.dims :], self.stride, self.padding, self.dilation, self.kernel, strict=True
            )
        )
        return tuple(want - least for want, least in zip(wanted, smallest, strict=True))

    def column(self, vector: Tensor) -> Tensor:
        """A value for each channel of an output, so that it broadcasts over its places."""
        return vector.view(-1, *(1,) * self.dims)

    def patches(self, x: Tensor) -> Tensor:
        """The vectors that the matrix is multiplied with.

        Args:
            x: (N, channels, ...) input of a convolution.

        Returns:
            (N, bands * inputs of a band, ...) over the positions of the products.
        """
        if self.transposed:
            return x
        x = F.pad(self.bordered(x), [side for zeros in reversed(self.padding) for side in (zeros, zeros)])
        for i, (k, s, d) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True)):
            x = x.unfold(2 + i, d * (k - 1) + 1, s)[..., ::d]
        # (N, channels, *positions, *kernel): the kernel's places belong beside the channels
        places = range(2 + self.dims, 2 + 2 * self.dims)
        return x.permute(0, 1, *places, *range(2, 2 + self.dims)).flatten(1, 1 + self.dims)


def _numbers(values: object) -> Sides:
    """A convolution's setting, one number for each dimension."""
    return tuple(int(value) for value in values) if isinstance(values, tuple) else ()
