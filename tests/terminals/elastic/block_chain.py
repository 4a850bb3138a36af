"""A tiny supernet of ONNX blocks made node by node: convolutions of random weights, merged and shrunk ones too."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def file_of(folder, branch):
    return folder / f"block-{branch.name}.onnx"


def save_block(folder, branch, channels=8, repeats=1):
    """A block of `repeats` pairs of convolution and ReLU; a shrunk one is narrower between the two."""
    generator = np.random.default_rng([branch.start, branch.span, int(100 * branch.shrink)])
    inner = max(1, round(channels * (1 - branch.shrink)))
    nodes, constants, name = [], [], "x"
    for number in range(2 * repeats):
        given, made = (channels, inner) if number % 2 == 0 else (inner, channels)
        weight = (generator.normal(size=(made, given, 3, 3)) / np.sqrt(9 * given)).astype(np.float32)
        constants.append(numpy_helper.from_array(weight, f"w{number}"))
        nodes.append(helper.make_node("Conv", [name, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        name = "y" if number == 2 * repeats - 1 else f"r{number}"
        nodes.append(helper.make_node("Relu", [f"c{number}"], [name]))
    shape = ["n", channels, "h", "w"]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, shape) for end in ("x", "y")]
    graph = helper.make_graph(nodes, "block", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, file_of(folder, branch))


def open_block(folder, branch):
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file_of(folder, branch)), options, providers=["CPUExecutionProvider"])


def run_block(session, feature):
    (output,) = session.run(["y"], {"x": feature})
    return output
