"""An ONNX file as a torch module whose convolutions and linear layers can go onto the crossbar.

The graph is simplified by ONNX Runtime (constants folded, BatchNorm folded into convolutions) and translated by
onnx2torch. A graph that it cannot run, such as a detector with its NMS, still gives its layers with weights, to be
mapped and programmed but not run.
"""

import copy
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper, version_converter
from torch import Tensor, fx, nn

from nestevo_hw.crossbar.placement import pair
from nestevo_hw.errors import InputError

NEWEST_OPSET = 17
"""Newest operator set that onnx2torch covers whole; newer files are converted down."""


class OnnxModel(nn.Module):
    """A translated graph; names of its layers follow those of the ONNX nodes.

    Attributes:
        graph: the translation.
        input_size: (H, W) in pixels that the file asks for; None if it takes any.
    """

    def __init__(self, graph: fx.GraphModule, input_size: tuple[int, int] | None) -> None:
        super().__init__()
        self.graph, self.input_size = graph, input_size

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the ONNX file puts out for its single input."""
        y: Tensor | tuple[Tensor, ...] = self.graph(x)
        return y


class OnnxLayers(nn.Module):
    """The convolutions and linear layers of a graph that cannot be run as a torch module."""

    def __init__(self, layers: dict[str, nn.Module], reason: str) -> None:
        super().__init__()
        self.layers, self._reason = nn.ModuleDict(layers), reason

    def forward(self, *_inputs: object) -> Tensor:
        """Always refuses.

        Raises:
            InputError: with the reason why the graph has no torch form.
        """
        raise InputError(self._reason)


def import_onnx(path: Path) -> OnnxModel | OnnxLayers:
    """Read an ONNX file.

    Args:
        path: file with one image input (N, C, H, W) and float32 weights, which may be stored as float16.

    Returns:
        The model in eval mode; `OnnxLayers` if only its layers could be read.

    Raises:
        InputError: the file is missing, corrupt, has several inputs or no layer with weights.
    """
    graph = _simplified(path)
    try:
        translated = _translated(graph)
    except (NotImplementedError, KeyError, ValueError, RuntimeError, TypeError) as error:
        layers = _layers(graph)
        if not layers:
            raise InputError(f"{path} has no convolution or linear layer with constant weights") from error
        reason = f"{path} can be mapped but not run as a torch module ({_first_line(error)})"
        return OnnxLayers(layers, reason).eval()
    return OnnxModel(translated, _input_size(graph)).eval()


def _simplified(path: Path) -> ModelProto:
    if not path.is_file():
        raise InputError(f"no ONNX file {path}; check the path")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would open a database in the user's cache (1.31)
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "simplified.onnx")
        try:
            # Loaded whole first: ONNX Runtime would look for external data beside the simplified file.
            whole = onnx.load(path).SerializeToString()
            session = ort.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
            graph = onnx.load(options.optimized_model_filepath)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but Exception
            raise InputError(f"{path} is not a readable ONNX model: {_first_line(error)}") from error
    inputs = [entry.name for entry in session.get_inputs()]
    if len(inputs) != 1:
        raise InputError(f"{path} expected one input, an image, but has {len(inputs)}: {', '.join(inputs)}")
    return graph


def _translated(graph: ModelProto) -> fx.GraphModule:
    from onnx2torch import convert

    graph = copy.deepcopy(graph)
    opset = next(entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))
    if opset > NEWEST_OPSET:
        graph = version_converter.convert_version(graph, NEWEST_OPSET)
    _drop_needless_allowzero(graph)
    module: fx.GraphModule = convert(graph)
    return _with_shared_layers(_with_linear_layers(module))


def _drop_needless_allowzero(graph: ModelProto) -> None:
    """Reshape's allowzero means nothing for a constant shape without zeros, and onnx2torch refuses it."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Reshape" and node.input[1] in shapes and np.all(shapes[node.input[1]] != 0):
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)


def _with_linear_layers(module: fx.GraphModule) -> fx.GraphModule:
    """Products with a constant matrix as nn.Linear; onnx2torch keeps the matrix outside the layer."""
    from onnx2torch.node_converters.matmul import OnnxMatMul

    for node in list(module.graph.nodes):
        if node.op != "call_module" or not isinstance(module.get_submodule(node.target), OnnxMatMul):
            continue
        x, matrix = node.args
        if not isinstance(matrix, fx.Node) or matrix.op != "get_attr":
            continue
        parent, _, name = str(matrix.target).rpartition(".")
        weight = getattr(module.get_submodule(parent), name)
        if weight.ndim == 2:
            module.set_submodule(node.target, _linear(weight.T, None))
            node.args = (x,)
    module.graph.eliminate_dead_code()
    module.recompile()
    module.delete_all_unused_submodules()
    return module


def _with_shared_layers(module: fx.GraphModule) -> fx.GraphModule:
    """One layer for all nodes with the same weights, such as a head that serves every level of a pyramid."""
    first: dict[tuple[object, ...], list[tuple[str, nn.Module]]] = {}
    for node in module.graph.nodes:
        layer = module.get_submodule(node.target) if node.op == "call_module" else None
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        alike = first.setdefault((repr(layer), float(layer.weight.detach().sum())), [])
        same = next((name for name, other in alike if _equal(layer, other)), None)
        if same is None:
            alike.append((node.target, layer))
        else:
            node.target = same
    module.recompile()
    module.delete_all_unused_submodules()
    return module


def _equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one.parameters(), other.parameters(), strict=True))


def _layers(graph: ModelProto) -> dict[str, nn.Module]:
    """Convolutions and linear layers with constant weights, by the name of their node."""
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    layers: dict[str, nn.Module] = {}
    seen: set[str] = set()
    for index, node in enumerate(graph.graph.node):
        constants = [_constant(tensors.get(name)) for name in node.input]
        layer = _layer(node, constants)
        if layer is not None and node.input[1] not in seen:
            seen.add(node.input[1])
            name = (node.name or f"{node.op_type}_{index}").strip("/").replace("/", "_").replace(".", "_")
            layers[name if name not in layers else f"{name}_{index}"] = layer
    return layers


def _layer(node: NodeProto, constants: list[Tensor | None]) -> nn.Module | None:
    weight = constants[1] if len(constants) > 1 else None
    bias = constants[2] if len(constants) > 2 else None
    if weight is None:
        return None
    settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "Conv" and weight.ndim == 4:
        groups = settings.get("group", 1)
        stride, dilation = pair(settings.get("strides", (1, 1))), pair(settings.get("dilations", (1, 1)))
        padding, kernel = pair(settings.get("pads", (0, 0))[:2]), pair(tuple(weight.shape[2:]))
        conv = nn.Conv2d(
            weight.shape[1] * groups, weight.shape[0], kernel, stride, padding, dilation, groups, bias is not None
        )
        return _filled(conv, weight, bias)
    if node.op_type == "Gemm" and weight.ndim == 2:
        return _linear(weight if settings.get("transB") else weight.T, bias)
    if node.op_type == "MatMul" and weight.ndim == 2:
        return _linear(weight.T, None)
    return None


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), weight, bias)


def _filled[Layer: (nn.Conv2d, nn.Linear)](layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
    return layer


def _constant(tensor: TensorProto | None) -> Tensor | None:
    if tensor is None:
        return None
    values = numpy_helper.to_array(tensor)
    return torch.from_numpy(values.astype(np.float32)) if values.dtype.kind == "f" else None


def _input_size(graph: ModelProto) -> tuple[int, int] | None:
    weights = {tensor.name for tensor in graph.graph.initializer}
    (image,) = [entry for entry in graph.graph.input if entry.name not in weights]
    sides = [dimension.dim_value for dimension in image.type.tensor_type.shape.dim]
    return (sides[2], sides[3]) if len(sides) == 4 and sides[2] > 0 and sides[3] > 0 else None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
