"""What the operators of an ONNX graph do with places, and why a graph cannot be run on a part of its input."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.onnx.crops.geometry import Network, Node, Repeating, Sliding, Step

_ALONE = frozenset({
    "Abs", "Add", "BatchNormalization", "Cast", "Clip", "Div", "Elu", "Exp", "Greater", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Less", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus",
    "Sub", "Sum", "Tanh", "Where",
})  # fmt: skip
"""Operators of which each output sees one cell of each input."""
_OTHER_AXES = frozenset({"Concat", "Gather", "Split", "Squeeze", "Unsqueeze"})
"""The same, as long as they work on other axes than the last two."""


class NotLocal(InputError):  # noqa: N818 - says what the graph is
    """An operator's outputs may see the whole of its input."""


def network_of(model: ModelProto, units: Mapping[str, int] | None = None) -> Network:
    """The geometry of a simplified graph of fixed sizes.

    Args:
        model: whose tensors' last two axes are places; see `nestevo_hw.models.onnx.crops.cutting`.
        units: pixels of the image between two cells of each input; 1 if left out.

    Raises:
        NotLocal: an operator is not local, or of a kind that is not known here; it names the first one.
    """
    graph = model.graph
    reader = Reader(model)
    nodes = tuple(reader.node(node) for node in graph.node)
    inputs = {entry.name: (units or {}).get(entry.name, 1) for entry in graph.input}
    sizes = {name: (shape[-2], shape[-1]) for name, shape in reader.shapes.items() if len(shape) > 1}
    try:
        return Network(inputs, tuple(entry.name for entry in graph.output), nodes, sizes)
    except ValueError as error:
        raise NotLocal(str(error)) from error


class Reader:
    """Reads nodes of a graph whose sizes are fixed."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.shapes = dict(_shapes(shape_inference.infer_shapes(model).graph))

    def node(self, node: NodeProto) -> Node:
        """What a node does with places.

        Raises:
            NotLocal: outputs see more than their surroundings.
        """
        takes = tuple(name for name in node.input if name and name not in self.constants)
        attributes = attributes_of(node)
        read = _READERS.get(node.op_type)
        shapes = [self.shapes.get(name) for name in (*takes, *node.output)]
        if not takes or any(shape is None or len(shape) < 2 for shape in shapes):
            raise self._not_local(node)
        if node.op_type in _ALONE and self._constants_are_flat(node) and len({s and s[-2:] for s in shapes}) == 1:
            return Node(takes=takes, gives=tuple(node.output))
        if node.op_type in _OTHER_AXES and self._axis(node, attributes) < len(shapes[0] or ()) - 2:
            return Node(takes=takes, gives=tuple(node.output))
        steps = read(self, node, attributes) if read and len(takes) == 1 else None
        if steps is None:
            raise self._not_local(node)
        return Node(takes=takes, gives=tuple(node.output), rows=steps[0], columns=steps[1])

    def constant(self, name: str) -> tuple[float, ...] | None:
        """Values of an initializer."""
        return tuple(numpy_helper.to_array(self.constants[name]).ravel().tolist()) if name in self.constants else None

    def _not_local(self, node: NodeProto) -> NotLocal:
        return NotLocal(f"operator {node.op_type} ({node.name or node.output[0]}) may see the whole of its input")

    def _constants_are_flat(self, node: NodeProto) -> bool:
        """Whether constants are the same for all places."""
        if node.op_type == "BatchNormalization":
            return len(self.shapes[node.input[0]]) == 4
        dims = [self.constants[name].dims for name in node.input if name in self.constants]
        return all(math.prod(shape[-2:]) == 1 for shape in dims)

    def _axis(self, node: NodeProto, attributes: Mapping[str, Any]) -> int:
        """The last axis that a node works on, from the front."""
        axes = attributes.get("axes") or (
            self.constant(node.input[1]) if node.op_type in ("Squeeze", "Unsqueeze") and len(node.input) > 1 else None
        )
        taken, given = (len(self.shapes[name]) for name in (node.input[0], node.output[0]))
        if node.op_type in ("Squeeze", "Unsqueeze"):
            rank = max(taken, given)
            # Of the longer of both shapes, whose last two axes are places.
            return max((int(axis) % rank for axis in axes), default=rank) + taken - rank if axes else rank
        return int(attributes.get("axis", 0)) % taken

    def convolution(self, node: NodeProto, attributes: Mapping[str, Any]) -> tuple[Step, Step] | None:
        """Of a 2-D convolution, MaxPool or AveragePool."""
        if len(self.shapes[node.input[0]]) != 4 or attributes.get("ceil_mode", 0) or len(node.output) > 1:
            return None
        if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            return None
        kernel = attributes.get("kernel_shape") or self.constants[node.input[1]].dims[2:]
        pads = attributes.get("pads", (0, 0, 0, 0))
        strides, dilations = attributes.get("strides", (1, 1)), attributes.get("dilations", (1, 1))
        rows, columns = (Sliding(kernel[k], strides[k], pads[k], pads[k + 2], dilations[k]) for k in (0, 1))
        return rows, columns

    def resize(self, node: NodeProto, attributes: Mapping[str, Any]) -> tuple[Step, Step] | None:
        """Of nearest upsampling by a whole factor."""
        before, after = self.shapes[node.input[0]][-2:], self.shapes[node.output[0]][-2:]
        nearest = attributes.get("mode", b"nearest") == b"nearest" and attributes.get("nearest_mode") == b"floor"
        even = attributes.get("coordinate_transformation_mode") == b"asymmetric"
        if not (nearest and even) or any(b % a for a, b in zip(before, after, strict=True)):
            return None
        return Repeating(after[0] // before[0]), Repeating(after[1] // before[1])


_READERS: dict[str, Callable[[Reader, NodeProto, Mapping[str, Any]], tuple[Step, Step] | None]] = {
    "Conv": Reader.convolution, "MaxPool": Reader.convolution, "AveragePool": Reader.convolution,
    "Resize": Reader.resize,
}  # fmt: skip


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _shapes(graph: GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for entry in (*graph.input, *graph.value_info, *graph.output):
        kind = entry.type.tensor_type
        dims = tuple(dim.dim_value if dim.HasField("dim_value") else 0 for dim in kind.shape.dim)
        if kind.HasField("shape") and all(dims):
            yield entry.name, dims
