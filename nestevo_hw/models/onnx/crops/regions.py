"""Torchvision's two-stage detectors, cut where the second stage takes the regions that the first one proposes."""

from collections.abc import Mapping
from typing import NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from nestevo_hw.models.onnx.crops.cutting import between, read_by
from nestevo_hw.models.onnx.crops.names import LEAST, OBJECTNESS, REGIONS
from nestevo_hw.models.onnx.crops.reading import attributes_of
from nestevo_hw.models.onnx.file import subgraphs

_ROWS = ("Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze")
"""Operators that choose among values, and make none."""
_FIRST, _SECOND = "/rpn/", "/roi_heads/"
"""Names of torchvision's modules, which its exported tensors begin with."""


class Split(NamedTuple):
    """A detector in two."""

    first: ModelProto
    """Gives `REGIONS` and `OBJECTNESS`, the surest first, and takes `LEAST` too, 0 for all regions."""
    rest: ModelProto
    """Makes objects of them."""
    most: int | None
    """Regions that the first one gives, if it finds more; None if that is not known."""


def split_regions(model: ModelProto) -> Split | None:
    """A graph cut where the regions are.

    Returns:
        None where the graph is not of that kind.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    second = [node for node in graph.node if any(_SECOND in name for name in node.output)]
    border = {name for node in second for name in read_by(node) if name in made_by and _FIRST in name}
    if len(border) != 1:
        return None
    (regions,) = border
    chosen = made_by[regions]
    scores = _scores_of(graph)
    if chosen.op_type != "Gather" or scores is None or attributes_of(chosen).get("axis", 0):
        return None
    inputs, outputs = [e.name for e in graph.input], [e.name for e in graph.output]
    first = between(model, inputs, [regions, scores])
    if not _take_least(first.graph):
        return None
    _give_scores(first.graph, chosen, scores)
    rest = between(model, [*inputs, regions], outputs)
    # Both sides name the regions alike, and know that there may be any number of them.
    rest.graph.node.insert(0, helper.make_node("Identity", [REGIONS], [regions]))
    kept = [entry for entry in rest.graph.input if entry.name != regions]
    del rest.graph.input[:]
    rest.graph.input.extend([*kept, helper.make_tensor_value_info(REGIONS, TensorProto.FLOAT, ["regions", 4])])
    del rest.graph.value_info[:]
    return Split(first, rest, _most_of(made_by.get(chosen.input[1]), {t.name: t for t in graph.initializer}))


def _most_of(kept: NodeProto | None, constants: Mapping[str, TensorProto]) -> int | None:
    """Where the indices of the regions are cut off."""
    if kept is None or kept.op_type != "Slice" or kept.input[2] not in constants:
        return None
    return int(numpy_helper.to_array(constants[kept.input[2]]).item())


def _give_scores(graph: GraphProto, chosen: NodeProto, scores: str) -> None:
    graph.node.append(helper.make_node("Gather", [scores, chosen.input[1]], [OBJECTNESS], axis=0))
    graph.node.append(helper.make_node("Identity", [chosen.output[0]], [REGIONS]))
    outputs = (
        helper.make_tensor_value_info(REGIONS, TensorProto.FLOAT, ["regions", 4]),
        helper.make_tensor_value_info(OBJECTNESS, TensorProto.FLOAT, ["regions"]),
    )
    del graph.output[:], graph.value_info[:]
    graph.output.extend(outputs)


def _take_least(graph: GraphProto) -> bool:
    """Have the comparison of scores with a constant, through which regions go, compare with `LEAST` in its place."""
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "GreaterOrEqual" and node.input[1] not in made_by and _is_sure(node.input[0], made_by):
            node.input[1] = LEAST
            graph.input.append(helper.make_tensor_value_info(LEAST, TensorProto.FLOAT, []))
            return True
    return False


def _is_sure(name: str, made_by: Mapping[str, NodeProto]) -> bool:
    """Whether a tensor is a sigmoid, or some rows of one."""
    while name in made_by and made_by[name].op_type in _ROWS:
        name = made_by[name].input[0]
    return name in made_by and made_by[name].op_type == "Sigmoid"


def _scores_of(graph: GraphProto) -> str | None:
    """The scores that the first stage suppresses by: what its NonMaxSuppression takes, through its Unsqueezes."""
    for node in graph.node:
        for branch in subgraphs(node):
            made_by = {name: inner for inner in branch.node for name in inner.output}
            for inner in branch.node:
                if inner.op_type != "NonMaxSuppression":
                    continue
                name = str(inner.input[1])
                while name in made_by and made_by[name].op_type == "Unsqueeze":
                    name = str(made_by[name].input[0])
                if _FIRST in name:
                    return name
    return None
