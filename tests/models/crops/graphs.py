"""Graphs to run on crops: drawn convolutions and poolings, with shortcuts around them."""

from typing import NamedTuple

import numpy as np
import onnxruntime
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from nestevo_hw.models.onnx.crops.spans import Rect, Span

CHANNELS = 3


class Layer(NamedTuple):
    kind: str
    kernel: tuple[int, int]
    stride: int
    pads: tuple[int, int, int, int]
    dilation: int

    def length(self, axis, cells):
        if self.kind in ("Relu", "Twice"):
            return cells * (2 if self.kind == "Twice" else 1)
        padded = cells + self.pads[axis] + self.pads[axis + 2]
        return (padded - self.dilation * (self.kernel[axis] - 1) - 1) // self.stride + 1


@st.composite
def chains(draw, size):
    """Up to four layers that leave something of an image of (H, W)."""
    chain = list[Layer]()
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["Conv", "Conv", "MaxPool", "AveragePool", "Relu", "Twice"]))
        kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, 2)) if kind in ("Conv", "MaxPool") else 1
        # Pooling refuses padding as large as its kernel.
        most = [1 if kind == "Conv" and k == 1 else k - 1 for k in kernel]
        pads = tuple(draw(st.integers(0, most[axis])) for axis in (0, 1, 0, 1))
        layer = Layer(kind, kernel, draw(st.integers(1, 3)), pads, dilation)
        left = tuple(map(layer.length, (0, 1), size))
        if min(left) < 3 or max(left) > 80:
            break
        chain.append(layer)
        size = left
    return chain


def one_after_the_other(chain, size, *, shortcut, seed=0):
    """A model of these layers from "x" to "y" and, with a shortcut, a residual block behind them."""
    draw = np.random.default_rng(seed)
    nodes, weights, name = [], [], "x"

    def conv(taken, given, kernel, **more):
        values = draw.standard_normal((CHANNELS, CHANNELS, *kernel)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{len(weights)}"))
        bias = draw.standard_normal(CHANNELS).astype(np.float32)
        weights.append(numpy_helper.from_array(bias, f"w{len(weights)}"))
        names = [taken, weights[-2].name, weights[-1].name]
        nodes.append(helper.make_node("Conv", names, [given], kernel_shape=kernel, **more))

    for index, layer in enumerate(chain):
        given, window = f"t{index}", {"strides": [layer.stride] * 2, "pads": layer.pads}
        if layer.kind == "Conv":
            conv(name, given, layer.kernel, dilations=[layer.dilation] * 2, **window)
        elif layer.kind == "Twice":
            factors = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), f"f{index}")
            weights.append(factors)
            more = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            nodes.append(helper.make_node("Resize", [name, "", factors.name], [given], **more))
        elif layer.kind == "Relu":
            nodes.append(helper.make_node("Relu", [name], [given]))
        else:
            more = {"dilations": [layer.dilation] * 2} if layer.kind == "MaxPool" else {}
            nodes.append(helper.make_node(layer.kind, [name], [given], kernel_shape=layer.kernel, **window, **more))
        name = given
    if shortcut:
        conv(name, "a", (3, 3), pads=[1, 1, 1, 1], strides=[shortcut, shortcut])
        nodes.append(helper.make_node("Relu", ["a"], ["b"]))
        conv("b", "c", (3, 3), pads=[1, 1, 1, 1])
        conv(name, "d", (1, 1), strides=[shortcut, shortcut])
        nodes.append(helper.make_node("Add", ["c", "d"], ["e"]))
        name = "e"
    nodes.append(helper.make_node("Identity", [name], ["y"]))
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, CHANNELS, *size]), ("y", None))
    ]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return shape_inference.infer_shapes(model)


def run(model, **inputs):
    """Outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@st.composite
def rects(draw, size):
    """A rectangle in an image of (H, W): borders and corners as often as the inside."""

    def side(length):
        start = draw(st.sampled_from([0, length - 1]) | st.integers(0, length - 1))
        return Span(start, draw(st.sampled_from([start + 1, length]) | st.integers(start + 1, length)))

    return Rect(side(size[0]), side(size[1]))
