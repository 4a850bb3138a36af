"""ONNX graphs made ready to run on crops, and cut where what sees only its surroundings ends."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference

from nestevo_hw.models.onnx.crops.ranges import within_range
from nestevo_hw.models.onnx.crops.reading import NotLocal, Reader, attributes_of
from nestevo_hw.models.onnx.file import read_simplified, subgraphs


def read_part(path: Path, *, lowest: float | None = None, highest: float | None = None) -> ModelProto:
    """A simplified graph of fixed sizes, without operators that do nothing at these.

    Args:
        path: of the ONNX file.
        lowest: known of all values of the only input, with `highest`: what is decided by that is folded.
        highest: see `lowest`.

    Raises:
        InputError: the file is missing or damaged.
    """
    model, _ = read_simplified(path)
    _of_one_image(model.graph)
    if lowest is not None and highest is not None:
        within_range(model.graph, lowest, highest)
        model = between(model, [e.name for e in model.graph.input], [e.name for e in model.graph.output])
    model = shape_inference.infer_shapes(model)
    _without_idle(model.graph)
    return shape_inference.infer_shapes(model)


def split_local(model: ModelProto) -> tuple[ModelProto, ModelProto | None]:
    """The longest beginning of a graph that is local, and the rest; None if nothing is left.

    The beginning gives what the rest takes of it, by the tensors' own names.

    Raises:
        NotLocal: there is no such beginning.
    """
    reader, graph = Reader(model), model.graph
    known = {entry.name for entry in graph.input}
    begun = list[NodeProto]()
    first: NotLocal | None = None
    for node in graph.node:
        if not any(name in known for name in node.input) or {*read_by(node)} - known - {*reader.constants, ""}:
            continue
        try:
            reader.node(node)
        except NotLocal as error:
            first = first or error
            continue
        begun.append(node)
        known.update(node.output)
    if not begun:
        raise first or NotLocal("the graph has no local operator")
    done = {name for node in begun for name in node.output}
    others = [node for node in graph.node if not done.intersection(node.output)]
    outputs = {entry.name for entry in graph.output}
    if not others:
        return model, None
    border = [n for node in others for n in read_by(node) if n in done] + [n for n in done if n in outputs]
    border = sorted(set(border))
    inputs = [entry.name for entry in graph.input]
    taken = [name for name in inputs if any(name in read_by(node) for node in others)]
    return between(model, inputs, border), between(model, [*border, *taken], [*(e.name for e in graph.output)])


def between(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """The part of a graph that makes some tensors of others; inputs that it does not read are left out.

    Raises:
        ValueError: it needs more than these inputs.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    wanted, needed, kept = list(outputs), set[str](), set[int]()
    while wanted:
        name = wanted.pop()
        if name in needed or not name:
            continue
        needed.add(name)
        if name in inputs or name in constants:
            continue
        if name not in made_by:
            raise ValueError(f"{name} is made of none of {', '.join(inputs)}")
        kept.add(id(made_by[name]))
        wanted += read_by(made_by[name])
    values = {e.name: e for e in (*graph.input, *graph.value_info, *graph.output)}
    part = helper.make_graph(
        [node for node in graph.node if id(node) in kept],
        graph.name,
        [values[name] for name in inputs if name in needed],
        [values.get(name) or helper.make_empty_tensor_value_info(name) for name in outputs],
        [constants[name] for name in constants if name in needed],
        value_info=[value for name, value in values.items() if name in needed],
    )
    return _like(model, part)


def of_any_size(model: ModelProto) -> bytes:
    """A local graph as a file that takes crops."""
    model = _like(model, model.graph)
    graph = model.graph
    del graph.value_info[:]
    for entry in (*graph.input, *graph.output):
        dims = entry.type.tensor_type.shape.dim
        for axis in (-2, -1):
            dims[axis].Clear()
            dims[axis].dim_param = f"{entry.name}_{axis}"
    made: bytes = model.SerializeToString()
    return made


def _of_one_image(graph: GraphProto) -> None:
    """Dimensions without a number, which are of how many images there are, become 1, in place."""
    del graph.value_info[:]
    for entry in (*graph.input, *graph.output):
        for dim in entry.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value") and len(entry.type.tensor_type.shape.dim) > 2:
                dim.dim_value = 1


def _without_idle(graph: GraphProto) -> None:
    """Resize to the same size and Pad by nothing become Identity, nearest upsampling goes by factors, in place."""
    sizes = {e.name: [d.dim_value for d in e.type.tensor_type.shape.dim] for e in (*graph.input, *graph.value_info)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Pad" and len(node.input) > 1 and node.input[1] in constants:
            idle = not numpy_helper.to_array(constants[node.input[1]]).any()
        elif node.op_type == "Resize" and node.input[0] in sizes and node.output[0] in sizes:
            idle = sizes[node.input[0]] == sizes[node.output[0]] and all(sizes[node.input[0]])
            if not idle:
                _by_factors(graph, node, sizes[node.input[0]], sizes[node.output[0]])
        else:
            continue
        if idle:
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output, name=node.name))


def _by_factors(graph: GraphProto, node: NodeProto, before: Sequence[int], after: Sequence[int]) -> None:
    """Have a Resize take factors in place of sizes, where these are whole."""
    if not all(before) or any(b % a for a, b in zip(before, after, strict=True)):
        return
    name = f"{node.output[0]}_factors"
    factors = np.array([b // a for a, b in zip(before, after, strict=True)], np.float32)
    graph.initializer.append(numpy_helper.from_array(factors, name))
    resized = helper.make_node("Resize", [node.input[0], "", name], node.output, name=node.name, **attributes_of(node))
    node.CopyFrom(resized)


def read_by(node: NodeProto) -> list[str]:
    """Tensors that a node takes, those that its branches take from around it included."""
    return [*node.input, *(name for graph in subgraphs(node) for name in _from_around(graph))]


def _from_around(graph: GraphProto) -> Iterator[str]:
    own = {entry.name for entry in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    yield from (name for node in graph.node for name in read_by(node) if name and name not in own)
    yield from (entry.name for entry in graph.output if entry.name not in own)


def _like(model: ModelProto, graph: GraphProto) -> ModelProto:
    made = helper.make_model(graph, opset_imports=list(model.opset_import))
    made.ir_version = model.ir_version
    return made
