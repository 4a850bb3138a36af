"""What an ONNX graph computes between its layers with weights, run by ONNX Runtime.

The graph is cut at those layers. A stage holds the operators that need as many layers before them, and the layers
that come next, so a network is as many stages as it has layers one after the other.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.onnx.file import first_line, open_session, subgraphs
from nestevo_hw.models.onnx.layers import LayerNode

if TYPE_CHECKING:
    import onnxruntime as ort

Values = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Operators, then layers on what they gave."""

    session: "ort.InferenceSession | None"
    """Of the operators; None where a layer takes what a layer gave."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[LayerNode, ...]
    finished: tuple[str, ...]
    """Values that nothing needs after this stage."""

    def __deepcopy__(self, memo: object) -> "Stage":
        """Itself: nothing in it ever changes, and sessions cannot be copied."""
        return self

    def run(self, values: Values, model: nn.Module) -> None:
        """Add what this stage computes to `values`, by name, and drop what is no longer needed.

        Raises:
            InputError: the operators do not take such values.
        """
        if self.session is not None:
            device = next(iter(values.values())).device
            arrays = {name: _array(values[name]) for name in self.inputs}
            for name, array in zip(self.outputs, run_session(self.session, self.outputs, arrays), strict=True):
                values[name] = torch.from_numpy(array).to(device)
        for node in self.layers:
            values[node.output] = model.get_submodule(node.layer)(node.padded(values[node.input]))
        for name in self.finished:
            del values[name]


def run_session(session: "ort.InferenceSession", outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
    """Outputs by name.

    Raises:
        InputError: ONNX Runtime refuses, in its words.
    """
    try:
        found: list[Any] = session.run(list(outputs), dict(inputs))
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but Exception
        raise InputError(f"ONNX Runtime cannot run the model on this input: {first_line(error)}") from error
    return found


def cut_stages(model: ModelProto, nodes: Mapping[int, LayerNode]) -> tuple[Stage, ...]:
    """Cut a graph at its layers.

    Args:
        model: sorted, as ONNX Runtime writes it.
        nodes: its layers, by their place in the graph.

    Raises:
        InputError: something else than a tensor passes from stage to stage.
    """
    graph = model.graph
    levels = _levels(graph, nodes)
    operators: list[list[NodeProto]] = [[] for _ in range(max(levels, default=0) + 1)]
    layers: list[list[LayerNode]] = [[] for _ in operators]
    for index, (node, level) in enumerate(zip(graph.node, levels, strict=True)):
        if index in nodes:
            layers[level].append(nodes[index])
        else:
            operators[level].append(node)
    last_use = {name: level for level, group in enumerate(operators) for node in group for name in _uses(node)}
    for level, group in enumerate(layers):
        last_use |= {node.input: max(level, last_use.get(node.input, 0)) for node in group}
    last_use |= {output.name: len(operators) for output in graph.output}
    types = _types(model, set(last_use))
    return tuple(
        _stage(model, operators[level], layers[level], level, last_use, types) for level in range(len(operators))
    )


def _levels(graph: GraphProto, nodes: Mapping[int, LayerNode]) -> list[int]:
    """Layers that lie before each node, along the longest path."""
    level: dict[str, int] = {}
    found = []
    for index, node in enumerate(graph.node):
        own = max((level.get(name, 0) for name in _uses(node)), default=0)
        found.append(own)
        level |= dict.fromkeys(node.output, own + (index in nodes))
    return found


def _uses(node: NodeProto) -> set[str]:
    """Names that a node reads, those that its loops and branches take from outside included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        inside = {entry.name for entry in (*graph.input, *graph.initializer)}
        inside |= {name for inner in graph.node for name in inner.output}
        read = {output.name for output in graph.output}.union(*(_uses(inner) for inner in graph.node))
        names |= read - inside
    return names


def _stage(
    model: ModelProto,
    operators: Sequence[NodeProto],
    layers: Sequence[LayerNode],
    level: int,
    last_use: Mapping[str, int],
    types: Mapping[str, int],
) -> Stage:
    made = {name for node in operators for name in node.output}
    used = set().union(*(_uses(node) for node in operators))
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = {node.input for node in layers}
    inputs = tuple(sorted(used - made - set(constants)))
    outputs = tuple(sorted(name for name in made if last_use.get(name, -1) > level or name in taken))
    session = None
    if outputs:
        graph = helper.make_graph(
            operators, f"stage-{level}",
            _value_infos(inputs, types), _value_infos(outputs, types),
            [constants[name] for name in sorted(used & set(constants))],
        )  # fmt: skip
        session = open_session(
            helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version,
                              functions=model.functions)
        )  # fmt: skip
    finished = tuple(sorted(name for name in {*inputs, *outputs, *taken} if last_use[name] <= level))
    return Stage(session=session, inputs=inputs, outputs=outputs, layers=tuple(layers), finished=finished)


def _value_infos(names: Iterable[str], types: Mapping[str, int]) -> list[ValueInfoProto]:
    for name in names:
        if name not in types:
            raise InputError(f"value {name!r} is not a tensor, so the graph cannot be cut there")
    return [helper.make_tensor_value_info(name, types[name], None) for name in names]


def _types(model: ModelProto, names: set[str]) -> dict[str, int]:
    """Element types of all tensors named, as ONNX Runtime infers them; it types whatever is asked for as an output."""
    asked = copy.deepcopy(model)
    made = {name for node in model.graph.node for name in node.output}
    asked.graph.output.extend(
        ValueInfoProto(name=name) for name in sorted(names & made - {output.name for output in model.graph.output})
    )
    session = open_session(asked, simplify="no")
    found = {entry.name: entry.type for entry in (*session.get_inputs(), *session.get_outputs())}
    return {
        name: TensorProto.DataType.Value(text.removeprefix("tensor(").removesuffix(")").upper())
        for name, text in found.items()
        if text.startswith("tensor(")
    }


def _array(value: Tensor) -> "np.ndarray[Any, Any]":
    if isinstance(value, FakeTensor):
        # torch's own way to say that shapes alone are not enough.
        raise DataDependentOutputException(torch.ops.aten._local_scalar_dense.default)
    return value.detach().cpu().contiguous().numpy()
