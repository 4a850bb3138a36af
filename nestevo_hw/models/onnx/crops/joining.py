"""ONNX graphs, each of which takes what earlier ones give, as one graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto, ValueInfoProto, compose, helper


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A graph and what its tensors are called among all."""

    model: ModelProto
    takes: Mapping[str, str]
    """Common names by its own inputs."""
    gives: Mapping[str, str]
    """Common names by its own outputs."""


def joined(
    links: Sequence[Link], outputs: Sequence[str], sizes: Mapping[str, Sequence[int]] | None = None
) -> ModelProto:
    """One graph from what no graph gives to some outputs, by their common names.

    Args:
        links: graphs, each behind those whose outputs it takes.
        outputs: of all together.
        sizes: that inputs have; None: as the graphs say.
    """
    parts = [compose.add_prefix(link.model, f"p{k}.") for k, link in enumerate(links)]
    given = {name for link in links for name in link.gives.values()}
    nodes, values = [], {}
    inputs = dict[str, ValueInfoProto]()
    for k, (link, part) in enumerate(zip(links, parts, strict=True)):
        for entry, own in zip(part.graph.input, link.model.graph.input, strict=True):
            name = link.takes[own.name]
            nodes.append(helper.make_node("Identity", [name], [entry.name]))
            if name not in given:
                inputs[name] = _sized(helper.make_value_info(name, entry.type), (sizes or {}).get(name))
        nodes += part.graph.node
        nodes += [helper.make_node("Identity", [f"p{k}.{own}"], [name]) for own, name in link.gives.items()]
        values.update({link.gives[own.name]: own.type for own in link.model.graph.output})
    graph = helper.make_graph(
        nodes, "joined", list(inputs.values()), [helper.make_value_info(name, values[name]) for name in outputs],
        [tensor for part in parts for tensor in part.graph.initializer],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=list(parts[0].opset_import))
    model.ir_version = max(part.ir_version for part in parts)
    return model


def _sized(entry: ValueInfoProto, size: Sequence[int] | None) -> ValueInfoProto:
    """An input of some size."""
    if size is None:
        return entry
    return helper.make_tensor_value_info(entry.name, entry.type.tensor_type.elem_type, list(size))
