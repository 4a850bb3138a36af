"""A detector in a few nodes that finds what it is asked to: the red, the green and the blue rectangle of a frame."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

COLOURS = ("red", "green", "blue")
ADAPTER = """
[input]
{input}

[outputs]
kind = "scored"
boxes = "boxes"
scores = "scores"

[thresholds]
{thresholds}
"""


def adapter(path: Path, *, given: str = "white = 1.0", thresholds: str = "overlap = 0.6", more: str = "") -> Path:
    """Its adapter as a file."""
    path.write_text(more + ADAPTER.format(input=given, thresholds=thresholds))
    return path


def colour_finder(
    path: Path, size: tuple[int, int] = (32, 32), *, channels_last: bool = False, white: float = 1.0,
    metadata: dict[str, str] | None = None, certainty: float = 0.9, layered: bool = False,
) -> Path:  # fmt: skip
    """Write it: the box of all pixels of each channel above half of white, found by their first and last columns.

    Args:
        layered: with a convolution that changes nothing, which a crossbar can take.
    """
    one = helper.make_node
    order = [0, 3, 1, 2] if channels_last else [0, 1, 2, 3]
    nodes = [
        one("Transpose", ["image"], ["plain" if layered else "chw"], perm=order),
        *([one("Conv", ["plain", "weight"], ["chw"])] if layered else ()),
        one("Greater", ["chw", "half"], ["above"]),
        one("Cast", ["above"], ["mask"], to=TensorProto.FLOAT),
        one("ReduceMax", ["mask"], ["columns"], axes=[2], keepdims=0),
        one("ReduceMax", ["mask"], ["rows"], axes=[3], keepdims=0),
    ]  # fmt: skip
    for name, line in (("x", "columns"), ("y", "rows")):
        nodes += [
            one("ArgMax", [line], [f"{name}1"], axis=2),
            one("ArgMax", [line], [f"{name}last"], axis=2, select_last_index=1),
            one("Add", [f"{name}last", "next"], [f"{name}2"]),
        ]
    nodes += [
        one("Concat", ["x1", "y1", "x2", "y2"], ["sides"], axis=2),
        one("Cast", ["sides"], ["boxes"], to=TensorProto.FLOAT),
        one("ReduceMax", ["columns"], ["there"], axes=[2], keepdims=1),
        one("Mul", ["there", "eye"], ["scores"]),
    ]
    height, width = size
    shape = (1, height, width, 3) if channels_last else (1, 3, height, width)
    constants = {"half": np.array(white / 2, np.float32), "next": np.array(1, np.int64),
                 "eye": certainty * np.eye(3, dtype=np.float32)[None]}  # fmt: skip
    if layered:
        constants["weight"] = np.eye(3, dtype=np.float32)[:, :, None, None]

    def floats(name: str, sides: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)

    graph = helper.make_graph(
        nodes, "colours", [floats("image", shape)], [floats("boxes", (1, 3, 4)), floats("scores", (1, 3, 3))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"classes": ",".join(COLOURS)} if metadata is None else metadata)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def frame(size: tuple[int, int], **boxes: tuple[int, int, int, int]) -> Tensor:
    """(3, H, W) uint8 with a rectangle of each named colour at x1, y1, x2, y2."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    for colour, (x1, y1, x2, y2) in boxes.items():
        image[COLOURS.index(colour), y1:y2, x1:x2] = 255
    return image
