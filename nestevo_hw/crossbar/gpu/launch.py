"""Starts the kernels: shapes, strides and number formats of one call."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nestevo_hw.crossbar.gpu.operands import Plan, Precision

_DAC_BLOCK = (64, 64)
"""Pixels and channels that a program quantises."""
_INTERPRETED_BLOCKS = (64, 64)
_MOST = (1 << 31) - 1


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on CPU tensors."""
    return bool(_kernels().INTERPRETED)


def _kernels() -> ModuleType:
    """Triton is imported when a layer first computes."""
    from nestevo_hw.crossbar.gpu import kernel

    return kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a layer, all but its input; tensors of effects that are absent are None."""

    precision: Precision
    plan: Plan
    cells: Tensor
    """(terms, columns, depth)."""
    noisy: Tensor | None
    lost: Tensor | None
    scale: Tensor
    """(slices, columns)."""
    offset: Tensor | None
    bias: Tensor | None
    table: Tensor
    apart: bool
    """Whether the ADC codes of each slice are wanted instead of their total."""
    noise: int
    """0 none, 1 of the outputs, 2 also of the cells by the constant law, 3 by that of pcm."""
    rounds: bool
    full_scale: float
    unit: float
    current_unit: float
    lost_unit: float
    power_unit: float
    sigma: float
    """Standard deviation of the outputs' noise in ADC codes."""
    limit: float
    inl: float
    seed: tuple[int, int]
    """Two words of 31 bits."""
    number: int
    """Of the call since the noise was restarted."""
    blocks: tuple[int, int] | None


def quantised(x: Tensor, dtype: torch.dtype, *, full_scale: float, step: float | None) -> tuple[Tensor, Tensor]:
    """DAC codes of (N, channels, height, width) values, channels last, and (N,) NaN for images with NaN, else 0.

    Args:
        x: float32 values.
        dtype: of the codes.
        full_scale: largest magnitude.
        step: of the codes in units of it; None: values stay as they are.
    """
    images, channels, height, width = x.shape
    pixels = height * width
    by_pixel = x.flatten(2)
    codes = torch.empty(x.shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)
    broken = torch.zeros(images, device=x.device)
    rows, columns = _DAC_BLOCK
    grid = (-(-images * pixels // rows) * -(-channels // columns),)
    _kernels().dac[grid](
        by_pixel, codes, broken, images, pixels, channels, *by_pixel.stride(), full_scale, step or 1.0,
        ROUND=step is not None, BLOCK_P=rows, BLOCK_C=columns,
    )  # fmt: skip
    return codes, broken


def multiplied(call: Call, codes: Tensor, broken: Tensor, *, like: Tensor) -> Tensor:
    """(N, columns, height, width) outputs, or with `apart` (slices, N, ...) codes, in the memory format of `like`."""
    images, channels, height, width = codes.shape
    seen, columns = call.plan.seen, call.cells.shape[1]
    sides = zip((height, width), seen.kernel, seen.stride, seen.padding, seen.dilation, strict=True)
    size = tuple((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides)
    slices = len(call.plan.spans) if call.apart else 1
    last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    order = torch.channels_last if last else torch.contiguous_format
    out = torch.empty((slices * images, columns, *size), device=codes.device, memory_format=order)
    positions = images * size[0] * size[1]
    geometry = (
        positions, *size, height, width, channels, columns, call.cells.shape[2], call.cells[0].numel(),
        seen.kernel[1], seen.places, *seen.stride, *seen.padding, *seen.dilation, len(call.plan.spans),
        (positions - 1).bit_length(),
    )  # fmt: skip
    strides = (out.stride(0), out.stride(1), out.stride(3), images * out.stride(0))
    numbers = (
        call.full_scale, call.unit, call.current_unit, call.lost_unit, call.power_unit, call.sigma, call.limit,
        call.inl, *call.seed, call.number,
    )  # fmt: skip
    absent = call.cells  # a pointer that is not followed
    tensors = (codes, call.cells, call.noisy, call.lost, call.scale, call.offset, call.bias, broken, call.table, out)
    arguments = (*(absent if t is None else t for t in tensors), *geometry, *strides, *numbers)
    _start(call, arguments, positions, columns, long=max(codes.numel(), call.cells[0].numel()) > _MOST)
    return out.unflatten(0, (slices, images)) if call.apart else out


def _start(call: Call, arguments: tuple[Any, ...], positions: int, columns: int, *, long: bool) -> None:
    """Run the kernel with the wanted or the fastest block sizes."""
    settings = {
        "FIXED": call.precision == "fixed", "TERMS": len(call.cells), "NOISE": call.noise,
        "DROP": call.lost is not None, "INL": call.inl > 0, "ROUND": call.rounds, "OFFSET": call.offset is not None,
        "BIAS": call.bias is not None, "APART": call.apart,
        "LONG": long, "PRECISION": "tf32" if call.precision == "tf32" else "ieee", "BLOCK_K": call.plan.block,
    }  # fmt: skip
    blocks = call.blocks or (_INTERPRETED_BLOCKS if interpreted() else None)
    if blocks is None:
        _kernels().tuned[lambda meta: (_programs(positions, columns, meta),)](*arguments, **settings)
        return
    own = {"BLOCK_M": blocks[0], "BLOCK_N": blocks[1]}
    _kernels().columns_of[(_programs(positions, columns, own),)](*arguments, **settings, **own)


def _programs(positions: int, columns: int, blocks: dict[str, int]) -> int:
    return -(-positions // blocks["BLOCK_M"]) * -(-columns // blocks["BLOCK_N"])
