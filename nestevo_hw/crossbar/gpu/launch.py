"""Starts the kernels: shapes, strides and number formats of one call."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nestevo_hw.crossbar.geometry import Geometry
from nestevo_hw.crossbar.gpu.operands import Plan, Precision

_DAC_PIXELS = 64
"""That a program quantises or unrolls, with one block of channels."""
_DAC_VALUES = 1024
"""That a program quantises where they are."""
_INTERPRETED_BLOCKS = (64, 64)
_MOST = (1 << 31) - 1
_FASTEST: dict[tuple[Any, ...], dict[str, Any]] = {}
"""Block sizes and compiler options by kind of call: to ask Triton's autotuner takes longer than many a layer."""


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


def quantised(
    plan: Plan, x: Tensor, spans: Tensor, dtype: torch.dtype, *, full_scale: float, step: float | None
) -> tuple[Tensor, Tensor]:
    """DAC codes of (N, channels, height, width) values, and (N,) NaN for images with NaN, else 0.

    Args:
        plan: says which channels stand where.
        x: float32 values.
        spans: `Plan.code_spans` on the device of x.
        dtype: of the codes.
        full_scale: largest magnitude.
        step: of the codes in units of it; None: values stay as they are.

    Returns:
        (N, height, width, `plan.width`) codes, for a plan with patches of the outputs' height and width.
    """
    if plan.unrolled:
        return _unrolled(plan, x, spans, dtype, full_scale, step)
    count, _, height, width = x.shape
    if x.stride(2) != width * x.stride(3):
        x = x.contiguous()
    codes = torch.empty((count, height, width, plan.width), dtype=dtype, device=x.device)
    broken = torch.zeros(count, device=x.device)
    # Vectors stand side by side like the pixels of one image.
    vectors = (height, width) == (1, 1)
    images, pixels = (1, count) if vectors else (count, height * width)
    _kernels().dac[_grid(images, pixels, spans)](
        x, codes, broken, spans, pixels, plan.width, x.stride(0), x.stride(1), x.stride(0) if vectors else x.stride(3),
        full_scale, step or 1.0, ROUND=step is not None, EACH=vectors, BLOCK_P=_DAC_PIXELS, BLOCK_C=plan.block,
    )  # fmt: skip
    return codes, broken


def _unrolled(
    plan: Plan, x: Tensor, spans: Tensor, dtype: torch.dtype, full_scale: float, step: float | None
) -> tuple[Tensor, Tensor]:
    """As `quantised`: every value once, then its code to every patch that holds it."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    x = x if last else x.contiguous()
    single, broken = torch.empty_like(x, dtype=dtype), torch.zeros(len(x), device=x.device)
    grid = (-(-x.numel() // _DAC_VALUES),)
    _kernels().dac_in_place[grid](
        x, single, broken, x.numel(), x[0].numel(), full_scale, step or 1.0, ROUND=step is not None, BLOCK=_DAC_VALUES
    )
    geometry, (height, width) = plan.geometry, x.shape[2:]
    side = output_size(geometry, (height, width))
    codes = torch.empty((len(x), *side, plan.width), dtype=dtype, device=x.device)
    pixels = side[0] * side[1]
    _kernels().patches[_grid(len(x), pixels, spans)](
        single, codes, spans, pixels, side[1], height, width, plan.width, *single.stride(), *geometry.stride,
        *geometry.padding, *geometry.dilation, KERNEL_W=geometry.kernel[1], PLACES=geometry.places,
        BLOCK_P=_DAC_PIXELS, BLOCK_C=plan.block,
    )  # fmt: skip
    return codes, broken


def _grid(images: int, pixels: int, spans: Tensor) -> tuple[int, int]:
    return images * -(-pixels // _DAC_PIXELS), len(spans)


def output_size(geometry: Geometry, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of what a 2-d convolution makes of an image."""
    sides = zip(size, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    height, width = ((side + 2 * p - d * (k - 1) - 1) // s + 1 for side, k, s, p, d in sides)
    return height, width


def multiplied(call: Call, codes: Tensor, broken: Tensor, *, like: Tensor) -> Tensor:
    """(N, columns, height, width) outputs, or with `apart` (slices, N, ...) codes, in the memory format of `like`."""
    images, height, width, channels = codes.shape
    seen, columns = call.plan.seen, call.cells.shape[1]
    size = output_size(seen, (height, width))
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
    kernels = _kernels()
    blocks = call.blocks or (_INTERPRETED_BLOCKS if interpreted() else None)
    if blocks is not None:
        own = {"BLOCK_M": blocks[0], "BLOCK_N": blocks[1]}
        kernels.columns_of[(_programs(positions, columns, own),)](*arguments, **settings, **own)
        return
    kind = (positions.bit_length(), columns, call.cells.shape[2], len(call.plan.spans), *settings.values())
    fastest = _FASTEST.get(kind)
    if fastest is None:
        kernels.tuned[lambda meta: (_programs(positions, columns, meta),)](*arguments, **settings)
        _FASTEST[kind] = kernels.tuned.best_config.all_kwargs()
        return
    kernels.columns_of[(_programs(positions, columns, fastest),)](*arguments, **settings, **fastest)


def _programs(positions: int, columns: int, blocks: dict[str, int]) -> int:
    return -(-positions // blocks["BLOCK_M"]) * -(-columns // blocks["BLOCK_N"])
