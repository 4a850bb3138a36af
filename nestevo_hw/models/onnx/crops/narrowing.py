"""Blocks whose inner channels can be made fewer: where these are in a graph, and the graph with some of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, load_from_string, numpy_helper

from nestevo_hw.models.onnx.crops.reading import attributes_of

_ALONE = frozenset({"Clip", "Elu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
"""Operators with one input, of which each output sees one value."""


@dataclass(frozen=True, slots=True)
class Inner:
    """The channels between two convolutions of a graph, that nothing else reads."""

    width: int
    weights: NDArray[np.float32]
    """(O, C, kh, kw) of the second convolution."""
    bias: NDArray[np.float32]
    """(O,)"""
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    dilations: tuple[int, int]
    taken: str
    """Name of what the second convolution takes."""
    made: str
    """Name of what it gives."""
    _makers: tuple[str, ...]
    """Outputs of the convolutions before it that make these channels: a full one, and depthwise ones."""


def inner_of(file: bytes) -> Inner | None:
    """The channels that most weights hang on; None where there are none that could be fewer.

    Args:
        file: an ONNX graph, simplified.
    """
    model = load_from_string(file)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    found = [inner for node in graph.node if (inner := _before(node, model, weights)) is not None]
    return max(found, key=lambda inner: inner.weights.size, default=None)


def tapped(file: bytes, inner: Inner) -> bytes:
    """The graph with what its second convolution takes and gives as its only outputs."""
    model = load_from_string(file)
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (inner.taken, inner.made)
    )
    made: bytes = model.SerializeToString()
    return made


def narrowed(
    file: bytes, inner: Inner, kept: Sequence[int], weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> bytes:
    """The graph with some of the inner channels.

    Args:
        file: of `inner`.
        inner: of the graph.
        kept: numbers of the channels that stay.
        weights: (O, len(kept), kh, kw) that the second convolution has then.
        bias: (O,)
    """
    model = load_from_string(file)
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.output[0] in inner._makers:
            _with(model, node, [numpy_helper.to_array(tensors[name])[list(kept)] for name in node.input[1:] if name])
            if attributes_of(node).get("group", 1) > 1:
                next(entry for entry in node.attribute if entry.name == "group").i = len(kept)
        elif node.output[0] == inner.made:
            _with(model, node, [weights, bias])
    del graph.value_info[:]
    made: bytes = model.SerializeToString()
    return made


def scaled(file: bytes, scale: NDArray[np.float32], shift: NDArray[np.float32], floor: NDArray[np.float32]) -> bytes:
    """In place of a graph with one input and output, each channel scaled and shifted, and no less than a floor.

    Args:
        file: the graph, which gives as many channels and cells as it takes.
        scale: (C,)
        shift: (C,)
        floor: (C,)
    """
    model = load_from_string(file)
    graph = model.graph
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    for name, value in (("scale", scale), ("shift", shift), ("floor", floor)):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value[:, None, None], np.float32), name))
    graph.node.extend([
        helper.make_node("Mul", [graph.input[0].name, "scale"], ["larger"]),
        helper.make_node("Add", ["larger", "shift"], ["moved"]),
        helper.make_node("Max", ["moved", "floor"], [graph.output[0].name]),
    ])  # fmt: skip
    made: bytes = model.SerializeToString()
    return made


def _with(model: ModelProto, node: NodeProto, values: Sequence[NDArray[np.float32]]) -> None:
    """Give a convolution weights and bias of its own, in place."""
    names = [f"{node.output[0]}_{kind}" for kind in ("weights", "bias")][: len(values)]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name)
        for name, value in zip(names, values, strict=True)
    )
    del node.input[1:]
    node.input.extend(names)


def _before(node: NodeProto, model: ModelProto, weights: Mapping[str, TensorProto]) -> Inner | None:
    """What a convolution takes, if a chain that nothing else reads makes it from a full convolution."""
    if not _is_full(node, weights):
        return None
    makers = tuple(_makers(node.input[0], model, weights))
    if not makers:
        return None
    own = attributes_of(node)
    values = [numpy_helper.to_array(weights[name]) for name in node.input[1:] if name]
    outputs, width = values[0].shape[:2]
    top, left, bottom, right = own.get("pads", (0, 0, 0, 0))
    return Inner(
        width=width, weights=values[0], bias=values[1] if len(values) > 1 else np.zeros(outputs, np.float32),
        strides=tuple(own.get("strides", (1, 1))), pads=(top, left, bottom, right),
        dilations=tuple(own.get("dilations", (1, 1))), taken=node.input[0], made=node.output[0], _makers=makers,
    )  # fmt: skip


def _makers(name: str, model: ModelProto, weights: Mapping[str, TensorProto]) -> Iterator[str]:
    """Outputs of convolutions back to a full one; none where anything else stands between."""
    made_by = {given: node for node in model.graph.node for given in node.output}
    read = [taken for node in model.graph.node for taken in node.input]
    outside = {entry.name for entry in model.graph.output}
    found = list[str]()
    while name in made_by and read.count(name) == 1 and name not in outside:
        node = made_by[name]
        if _is_full(node, weights):
            yield from (*found, name)
            return
        if _is_depthwise(node, weights):
            found.append(name)
        elif node.op_type not in _ALONE:
            return
        name = node.input[0]


def _is_full(node: NodeProto, weights: Mapping[str, TensorProto]) -> bool:
    """Whether each output of a convolution with known weights sees all channels."""
    return _is_convolution(node, weights) and attributes_of(node).get("group", 1) == 1


def _is_depthwise(node: NodeProto, weights: Mapping[str, TensorProto]) -> bool:
    """Whether each output of a convolution with known weights sees its own channel."""
    groups = attributes_of(node).get("group", 1)
    return _is_convolution(node, weights) and weights[node.input[1]].dims[:2] == [groups, 1]


def _is_convolution(node: NodeProto, weights: Mapping[str, TensorProto]) -> bool:
    if node.op_type != "Conv" or attributes_of(node).get("auto_pad", b"NOTSET") != b"NOTSET":
        return False
    known = all(name in weights for name in node.input[1:] if name)
    return known and len(weights[node.input[1]].dims) == 4
