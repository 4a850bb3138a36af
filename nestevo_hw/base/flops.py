"""Operations that multiply, counted from shapes: PyTorch's formulas, and those that it lacks or has wrong."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Shape = Sequence[int]
MATRIX = 2
"""Dimensions of one."""
_aten = torch.ops.aten


def _convolution_backward(*arguments: Any, **_: object) -> int:  # noqa: ANN401 - as the operation has them
    """Of shapes, a flag and a mask: each gradient, the input's and the weight's, takes as many as the forward pass.

    PyTorch's own formula passes over the groups of the weight's gradient.
    """
    gradient, data, weight, *_settings = arguments
    transposed, wanted = arguments[7], arguments[10]
    pixels: Shape = data if transposed else gradient
    return _products(pixels[:1], pixels[2:], weight) * int(sum(wanted[:2]))


def _recurrent(data: Shape, *arguments: Any, **_: object) -> int:  # noqa: ANN401 - as each backend has them
    """A recurrent layer as one kernel: each of its matrices once at every step of every sequence."""
    weights: Sequence[Shape] = arguments[0] if isinstance(arguments[0][0], Sequence) else arguments[:2]
    return sum(_products(data[:-1], weight) for weight in weights if len(weight) == MATRIX)


def _recurrent_backward(*arguments: Any, **_: object) -> int:  # noqa: ANN401
    return 2 * _recurrent(*arguments)


def _bilinear(a: Shape, b: Shape, c: Shape, *expanded: Shape, **_: object) -> int:
    """Three factors, each of which lacks some dimensions of the product."""
    full = []
    for shape, lacking in zip((a, b, c), expanded[:3], strict=True):
        sizes = list(shape)
        for dim in sorted(lacking):
            sizes.insert(dim, 1)
        full.append(sizes)
    return _products(list(map(max, *full)))


def _by_vector(matrix: Shape, *_: object, **__: object) -> int:
    return _products(matrix)


def _sum_and_by_vector(_sum: Shape, matrix: Shape, *_: object, **__: object) -> int:
    return _products(matrix)


def _distances(a: Shape, b: Shape, **_: object) -> int:
    """By |a|^2 - 2 a b + |b|^2 as one product."""
    return _products(a[:-1], b[-2:-1], [a[-1] + 2])


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


def _products(*shapes: Shape) -> int:
    """Two for each multiply-accumulate."""
    return 2 * math.prod(size for shape in shapes for size in shape)


_MENDED: Mapping[Any, Callable[..., int]] = {
    _aten.convolution_backward: _convolution_backward,
    _aten.mkldnn_rnn_layer: _recurrent,
    _aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    _aten._cudnn_rnn: _recurrent,
    _aten._cudnn_rnn_backward: _recurrent_backward,
    _aten._trilinear: _bilinear,
    _aten.mv: _by_vector,
    _aten.dot: _by_vector,
    _aten.addmv: _sum_and_by_vector,
    _aten._euclidean_dist: _distances,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def flop_counter() -> FlopCounterMode:
    """Counts what is called inside; `get_total_flops` gives two for each multiply-accumulate."""
    return FlopCounterMode(display=False, custom_mapping=dict(_MENDED))


FORMULAS: Mapping[Any, Callable[..., int]] = flop_counter().flop_registry
"""By the operation, which they take the arguments of, and its result as `out_val`."""
