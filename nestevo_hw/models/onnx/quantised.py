"""8-bit versions of ONNX files: convolutions and linear layers in the QDQ form of ONNX Runtime."""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import replacing
from nestevo_hw.models.onnx.file import first_line

_LAYERS = ("Conv", "Gemm", "MatMul")
_BESIDE_NETWORK = ("scaling/", "report/")
"""Beginnings of the names of what `frames.write_frame_model` puts around a network."""


def quantise(path: Path, frames: Sequence[NDArray[Any]], out: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write an 8-bit version of a file, whose ranges are the least and the largest values on some frames.

    Weights are int8 with a scale for each output channel, activations uint8. The last layers, behind which there is no
    other, stay float: they are small, and what they give are scores and boxes.

    Args:
        path: of the float file.
        frames: inputs of one call each, as the file takes them.
        out: file to write.

    Returns:
        Names of the layers that are in 8 bits, and of those that stay float.

    Raises:
        InputError: no layer could be quantised, or ONNX Runtime cannot.
    """
    model = onnx.load(path)
    layers = _layers(model.graph)
    last = [node.name for node in layers if not _leads_to(node, layers, model.graph)]
    chosen = [node.name for node in layers if node.name not in last]
    if not chosen:
        raise InputError("the model has no layer that could be in 8 bits before its last ones; leave --int8 out")
    _state_operators_once(model)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "float.onnx"
        onnx.save(model, plain)
        with replacing(out) as temporary:
            _quantise(plain, model.graph.input[0].name, frames, temporary, chosen)
    return tuple(chosen), tuple(last)


def _quantise(path: Path, name: str, frames: Sequence[NDArray[Any]], out: Path, nodes: list[str]) -> None:
    # Otherwise the import starts a telemetry thread and opens a database in the user's cache (1.31).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def __init__(self) -> None:
            self._left = iter(frames)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            frame = next(self._left, None)
            return None if frame is None else {name: np.ascontiguousarray(frame)}

    with _quiet():
        try:
            quantize_static(
                str(path), str(out), Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=list(_LAYERS),
                nodes_to_quantize=nodes, per_channel=True, activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )  # fmt: skip
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"ONNX Runtime cannot quantise the model ({first_line(error)}); leave --int8 out"
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that the quantiser logs on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _layers(graph: GraphProto) -> list[NodeProto]:
    """Layers of the network with constant weights."""
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node for node in graph.node
        if node.op_type in _LAYERS and node.input[1] in constants and not node.name.startswith(_BESIDE_NETWORK)
    ]  # fmt: skip


def _leads_to(start: NodeProto, layers: Sequence[NodeProto], graph: GraphProto) -> bool:
    """Whether what a layer puts out reaches another one; nodes of a graph are in order of computation."""
    reached, others = set(start.output), {node.name for node in layers if node.name != start.name}
    for node in graph.node:
        if reached.intersection(node.input):
            if node.name in others:
                return True
            reached.update(node.output)
    return False


def _state_operators_once(model: ModelProto) -> None:
    """Joining files states the same operator set several times, which the quantiser refuses."""
    stated = {(entry.domain, entry.version): entry for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(stated.values())
