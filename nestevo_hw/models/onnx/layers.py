"""The layers with weights of an ONNX graph as torch modules."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.onnx.file import subgraphs
from nestevo_hw.models.onnx.names import layer_names

Constants = Mapping[str, TensorProto]
Attributes = Mapping[str, Any]

_CONVOLUTIONS: dict[int, Any] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {3: nn.ConvTranspose1d, 4: nn.ConvTranspose2d, 5: nn.ConvTranspose3d}
_MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN")
_OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_QUANTISED = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DequantizeLinear")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNode:
    """One use of a layer in the graph."""

    layer: str
    """Name of the module."""
    input: str
    """Name of the value it takes."""
    output: str
    """Name of the value it gives."""
    pads: tuple[int, ...] = ()
    """Zeros around the input that a torch layer cannot add itself, in the order of `torch.nn.functional.pad`."""
    same: str = ""
    """SAME_UPPER or SAME_LOWER: as many zeros as give ceil(size / stride) outputs, the odd one at this end."""
    geometry: tuple[tuple[int, int, int], ...] = ()
    """Kernel, stride and dilation of each dimension, for `same`."""

    def padded(self, x: Tensor) -> Tensor:
        """The input (N, C, ...) as the layer takes it."""
        if self.pads:
            return F.pad(x, self.pads)
        if not self.same:
            return x
        pads: list[int] = []
        for size, (kernel, stride, dilation) in zip(reversed(x.shape[2:]), reversed(self.geometry), strict=True):
            total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            few, many = total // 2, total - total // 2
            pads += [few, many] if self.same == "SAME_UPPER" else [many, few]
        return F.pad(x, pads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """All layers with weights of a graph."""

    modules: dict[str, nn.Module]
    """By dotted name, in the graph's order; those of no node in `nodes` are computed elsewhere and only counted."""
    nodes: dict[int, LayerNode]
    """Uses of the layers, by the node's place in the graph; several may share a layer."""


class OnnxOperator(nn.Module):
    """Weights of an operator that has no torch layer here: a recurrent one, or one inside a loop or branch."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        for index, weight in enumerate(weights):
            self.register_parameter(f"weight_{index}", nn.Parameter(weight, requires_grad=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """A node with constant weights, before its layer has a name."""

    node: NodeProto
    module: nn.Module
    index: int | None = None
    """Place in the graph; None for a node that torch does not compute."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Padding for `LayerNode`."""


def find_layers(graph: GraphProto) -> Layers:
    """Convolutions and linear layers with constant weights as torch modules; equal ones are one module.

    Args:
        graph: simplified, so that constants are initializers.

    Raises:
        InputError: weights that are not float32, quantised, NaN or infinite; it names the node.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    _refuse_other_numbers(graph, constants)
    uses = [*_layer_uses(graph, constants), *_uses_inside_branches(graph, constants)]
    keys = [_fingerprint(use.module) for use in uses]
    first = dict(zip(reversed(keys), reversed(uses), strict=True))
    distinct = list(dict.fromkeys(keys))
    names = dict(zip(distinct, layer_names([first[key].node for key in distinct]), strict=True))
    return Layers(
        modules={names[key]: first[key].module for key in distinct},
        nodes={
            use.index: LayerNode(layer=names[key], input=use.node.input[0], output=use.node.output[0], **use.settings)
            for key, use in zip(keys, uses, strict=True)
            if use.index is not None
        },
    )


def _refuse_other_numbers(graph: GraphProto, constants: Constants) -> None:
    """Those that are stored so but converted in the graph are float32 by now."""
    for tensor in graph.initializer:
        if len(tensor.dims) > 1 and tensor.data_type in _OTHER_FLOATS:
            kind = TensorProto.DataType.Name(tensor.data_type).lower()
            raise InputError(f"weights {tensor.name!r} are {kind}; export the model in float32")
    for node in graph.node:
        if node.op_type in _QUANTISED and (node.op_type != "DequantizeLinear" or node.input[0] in constants):
            raise InputError(
                f"node {node.name!r} ({node.op_type}) is quantised; give the float32 model it was made from"
            )


def _layer_uses(graph: GraphProto, constants: Constants) -> Iterator[_Use]:
    for index, node in enumerate(graph.node):
        weights = _weights(node, constants)
        if not weights:
            continue
        built = _layer(node, constants)
        if built is None:
            yield _Use(node=node, module=OnnxOperator(weights))
        else:
            yield _Use(node=node, module=built[0], index=index, settings=built[1])


def _uses_inside_branches(graph: GraphProto, constants: Constants) -> Iterator[_Use]:
    """Nodes with constant weights in loops and branches, which ONNX Runtime computes."""
    for node in graph.node:
        for inner in subgraphs(node):
            known = {**constants, **{tensor.name: tensor for tensor in inner.initializer}}
            found = ((owner, _weights(owner, known)) for owner in inner.node)
            yield from (_Use(node=owner, module=OnnxOperator(weights)) for owner, weights in found if weights)
            yield from _uses_inside_branches(inner, known)


def _layer(node: NodeProto, constants: Constants) -> tuple[nn.Module, Mapping[str, Any]] | None:
    """The torch layer of a node and its settings in `LayerNode`; None if torch has no such layer."""
    bias_name = node.input[2] if len(node.input) > 2 else ""
    unknown = node.input[1] not in constants or node.input[0] in constants or (bias_name and bias_name not in constants)
    build = _BUILDERS.get(node.op_type)
    if unknown or build is None:
        return None
    weight = _tensor(node, constants[node.input[1]])
    bias = _tensor(node, constants[bias_name]) if bias_name else None
    return build(weight, bias, {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute})


def _weights(node: NodeProto, constants: Constants) -> list[Tensor]:
    """The constant matrices that a node multiplies with."""
    if node.op_type not in _MULTIPLYING:
        return []
    # Recurrent operators also take biases and initial states, as matrices of one line.
    names = node.input[1:3] if node.op_type in ("LSTM", "GRU", "RNN") else node.input
    tensors = (_tensor(node, constants[name]) for name in names if name in constants)
    return [tensor for tensor in tensors if tensor.is_floating_point() and tensor.ndim >= 2]


def _tensor(node: NodeProto, constant: TensorProto) -> Tensor:
    values = numpy_helper.to_array(constant)
    if values.dtype == np.float32 and not np.isfinite(values).all():
        raise InputError(f"node {node.name!r} ({node.op_type}) holds NaN or infinite weights; train or export it again")
    return torch.from_numpy(values.copy())


def _convolution(weight: Tensor, bias: Tensor | None, attributes: Attributes) -> tuple[nn.Module, Mapping[str, Any]]:
    dims = weight.ndim - 2
    stride, dilation = _sides(attributes, "strides", dims), _sides(attributes, "dilations", dims)
    pads, auto = _pads(attributes, dims), attributes.get("auto_pad", b"NOTSET").decode()
    settings: dict[str, Any] = {}
    if auto.startswith("SAME"):
        settings = {"same": auto, "geometry": tuple(zip(weight.shape[2:], stride, dilation, strict=True))}
    elif pads[:dims] != pads[dims:]:
        both = zip(reversed(pads[:dims]), reversed(pads[dims:]), strict=True)
        settings = {"pads": tuple(side for pair in both for side in pair)}
    groups = attributes.get("group", 1)
    conv = _CONVOLUTIONS[weight.ndim](
        weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), stride=stride,
        padding=(0,) * dims if settings else pads[:dims], dilation=dilation, groups=groups, bias=bias is not None,
    )  # fmt: skip
    return _filled(conv, weight, bias), settings


def _transposed(
    weight: Tensor, bias: Tensor | None, attributes: Attributes
) -> tuple[nn.Module, Mapping[str, Any]] | None:
    dims, groups = weight.ndim - 2, attributes.get("group", 1)
    pads = _pads(attributes, dims)
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in attributes or pads[:dims] != pads[dims:]:
        return None
    conv = _TRANSPOSED[weight.ndim](
        weight.shape[0], weight.shape[1] * groups, tuple(weight.shape[2:]), stride=_sides(attributes, "strides", dims),
        padding=pads[:dims], output_padding=tuple(attributes.get("output_padding", (0,) * dims)), groups=groups,
        dilation=_sides(attributes, "dilations", dims), bias=bias is not None,
    )  # fmt: skip
    return _filled(conv, weight, bias), {}


def _gemm(weight: Tensor, bias: Tensor | None, attributes: Attributes) -> tuple[nn.Module, Mapping[str, Any]] | None:
    matrix = (weight if attributes.get("transB", 0) else weight.T) * attributes.get("alpha", 1.0)
    alike = bias is None or bias.numel() == 1 or bias.shape[-1] == bias.numel() == len(matrix)
    if attributes.get("transA", 0) or not alike:  # or a bias with a number for each input
        return None
    row = None if bias is None else (bias.flatten() * attributes.get("beta", 1.0)).expand(len(matrix))
    return _linear(matrix, row), {}


def _product(weight: Tensor, _bias: None, _attributes: Attributes) -> tuple[nn.Module, Mapping[str, Any]] | None:
    return (_linear(weight.T, None), {}) if weight.ndim == 2 else None


_BUILDERS: dict[str, Callable[..., tuple[nn.Module, Mapping[str, Any]] | None]] = {
    "Conv": _convolution, "ConvTranspose": _transposed, "Gemm": _gemm, "MatMul": _product,
}  # fmt: skip


def _sides(attributes: Attributes, name: str, dims: int) -> tuple[int, ...]:
    return tuple(attributes.get(name, (1,) * dims))


def _pads(attributes: Attributes, dims: int) -> tuple[int, ...]:
    """Zeros before, then after, along each dimension."""
    return tuple(attributes.get("pads", (0,) * (2 * dims)))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), weight, bias)


def _filled[Layer: nn.Module](layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    with torch.no_grad():
        layer.get_parameter("weight").copy_(weight)
        if bias is not None:
            layer.get_parameter("bias").copy_(bias)
    return layer


def _fingerprint(layer: nn.Module) -> str:
    """Equal for layers that compute the same, such as one head for every level of a pyramid."""
    found = hashlib.blake2b(repr(layer).encode())
    for tensor in layer.parameters():
        found.update(repr(tuple(tensor.shape)).encode() + tensor.detach().numpy().tobytes())
    return found.hexdigest()
