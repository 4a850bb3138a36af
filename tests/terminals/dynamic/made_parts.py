"""Parts of a small model, written by hand: two blocks, the first one residual, the second one strided."""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

from nestevo_hw.models.elastic.parts import FINISH, GIVEN, IMAGE, STEM, TAKEN, Parts, block_file, tap_name, write_parts
from nestevo_hw.models.elastic.space import Branch, PathSpace
from nestevo_hw.models.onnx.manifest import sha256

SIZE = (96, 128)
"""Of the images."""
CHANNELS = 6
BLOCK = "block 0"
"""Name of the first block as a stage."""


class _Graph:
    def __init__(self, seed):
        self.nodes, self.weights, self._draw = [], [], np.random.default_rng(seed)

    def constant(self, values):
        self.weights.append(numpy_helper.from_array(np.asarray(values), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def drawn(self, *shape):
        return self.constant((self._draw.standard_normal(shape) / np.sqrt(4.5 * shape[1])).astype(np.float32))

    def add(self, kind, takes, given, **attributes):
        self.nodes.append(helper.make_node(kind, takes, [given], **attributes))
        return given

    def conv(self, taken, given, inputs, outputs, kernel=3, stride=1):
        pad = kernel // 2
        window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.add("Conv", [taken, self.drawn(outputs, inputs, kernel, kernel)], given, **window)

    def write(self, path, takes, gives):
        values = [
            [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in side] for side in (takes, gives)
        ]
        graph = helper.make_graph(self.nodes, path.stem, *values, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        checker.check_model(model)
        save(model, path)


def _features(size, channels=CHANNELS):
    return TensorProto.FLOAT, [1, channels, *size]


def made_parts(folder, kind="detection"):
    """A folder of parts and its manifest."""
    folder.mkdir(exist_ok=True)
    half, quarter = (SIZE[0] // 2, SIZE[1] // 2), (SIZE[0] // 4, SIZE[1] // 4)
    stem = _Graph(1)
    stem.add("Relu", [stem.conv(IMAGE, "a", 3, CHANNELS, stride=2)], TAKEN)
    stem.write(folder / STEM, [(IMAGE, *_features(SIZE, 3))], [(TAKEN, *_features(half))])
    first = _Graph(2)
    first.add("Relu", [first.conv(TAKEN, "a", CHANNELS, CHANNELS)], "b")
    first.add("Add", [first.conv("b", "c", CHANNELS, CHANNELS), TAKEN], "d")
    first.add("Relu", ["d"], GIVEN)
    first.write(folder / block_file(Branch(0)), [(TAKEN, *_features(half))], [(GIVEN, *_features(half))])
    second = _Graph(3)
    second.add("Relu", [second.conv(TAKEN, "a", CHANNELS, CHANNELS, stride=2)], GIVEN)
    second.write(folder / block_file(Branch(1)), [(TAKEN, *_features(half))], [(GIVEN, *_features(quarter))])
    _finish(folder, kind, quarter)
    files = [STEM, FINISH, block_file(Branch(0)), block_file(Branch(1))]
    parts = Parts(
        kind=kind, architecture="made by hand", classes=("a", "b", "c"), taps=(), image=(3, *SIZE),
        space=PathSpace(2, (Branch(0), Branch(1))), taken=((CHANNELS, *half),) * 2,
        given=((CHANNELS, *half), (CHANNELS, *quarter)), sha256={name: sha256(folder / name) for name in files},
    )  # fmt: skip
    write_parts(folder, parts)
    return parts


def _finish(folder, kind, size):
    """A detector's one box follows the largest of a map of scores; a classifier's logits the means of the channels."""
    graph, taken = _Graph(4), tap_name(1)
    if kind == "classification":
        graph.add("GlobalAveragePool", [taken], "means")
        graph.add("Flatten", ["means"], "flat")
        graph.add("Gemm", ["flat", graph.constant(10 * np.eye(CHANNELS, 3, dtype=np.float32))], "logits")
        graph.write(folder / FINISH, [(taken, *_features(size))], [("logits", TensorProto.FLOAT, [1, 3])])
        return
    graph.conv(taken, "map", CHANNELS, 1, kernel=1)
    graph.add("GlobalMaxPool", ["map"], "most")
    graph.add("Reshape", ["most", graph.constant(np.array([1], np.int64))], "one")
    graph.add("Sigmoid", ["one"], "scores")
    graph.add("Mul", ["scores", graph.constant(np.array([[5, 5, 40, 40]], np.float32))], "boxes")
    graph.add("Identity", [graph.constant(np.array([1], np.int64))], "labels")
    boxes, labels = ("boxes", TensorProto.FLOAT, [1, 4]), ("labels", TensorProto.INT64, [1])
    graph.write(folder / FINISH, [(taken, *_features(size))], [boxes, labels, ("scores", TensorProto.FLOAT, [1])])
