"""ONNX files made node by node, for what no exporter writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor


def saved(
    path: Path,
    nodes: Sequence[NodeProto],
    constants: dict[str, Any],
    shape: Sequence[int | str] = (1, 3, 4, 4),
    *,
    inputs: Sequence[str] = ("x",),
    kind: int = TensorProto.FLOAT,
    opsets: Sequence[tuple[str, int]] = (("", 17),),
    outputs: Sequence[str] = ("y",),
    **options: Any,
) -> Path:
    """Write a graph from `inputs` to `outputs` of one operator set or several."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path, **options)
    return path


def weights(*shape: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def runtime(path: Path, x: Tensor) -> list[Tensor]:
    """Outputs of the whole file by ONNX Runtime."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(y) for y in session.run(None, {session.get_inputs()[0].name: x.numpy()})]
