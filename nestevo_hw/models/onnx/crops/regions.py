"""Torchvision's two-stage detectors, cut where the second stage takes the regions that the first one proposes."""

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from nestevo_hw.models.onnx.crops.cutting import between, read_by
from nestevo_hw.models.onnx.crops.reading import attributes_of
from nestevo_hw.models.onnx.file import subgraphs

REGIONS, OBJECTNESS = "regions", "objectness"
"""(K, 4) boxes x1 y1 x2 y2 in pixels of the network's input, and (K,) how sure each holds something, 0 to 1."""
_FIRST, _SECOND = "/rpn/", "/roi_heads/"
"""Names of torchvision's modules, which its exported tensors begin with."""


def split_regions(model: ModelProto) -> tuple[ModelProto, ModelProto] | None:
    """The graph up to the proposed regions, which gives `REGIONS` and `OBJECTNESS`, and what makes objects of them.

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
    _give_scores(first.graph, chosen, scores)
    rest = between(model, [*inputs, regions], outputs)
    # Both sides name the regions alike, and know that there may be any number of them.
    rest.graph.node.insert(0, helper.make_node("Identity", [REGIONS], [regions]))
    kept = [entry for entry in rest.graph.input if entry.name != regions]
    del rest.graph.input[:]
    rest.graph.input.extend([*kept, helper.make_tensor_value_info(REGIONS, TensorProto.FLOAT, ["regions", 4])])
    del rest.graph.value_info[:]
    return first, rest


def _give_scores(graph: GraphProto, chosen: NodeProto, scores: str) -> None:
    graph.node.append(helper.make_node("Gather", [scores, chosen.input[1]], [OBJECTNESS], axis=0))
    graph.node.append(helper.make_node("Identity", [chosen.output[0]], [REGIONS]))
    outputs = (
        helper.make_tensor_value_info(REGIONS, TensorProto.FLOAT, ["regions", 4]),
        helper.make_tensor_value_info(OBJECTNESS, TensorProto.FLOAT, ["regions"]),
    )
    del graph.output[:], graph.value_info[:]
    graph.output.extend(outputs)


def _scores_of(graph: GraphProto) -> str | None:
    """The scores that the first stage suppresses by: what its NonMaxSuppression takes, through its Unsqueezes."""
    for node in graph.node:
        for branch in subgraphs(node):
            made_by = {name: inner for inner in branch.node for name in inner.output}
            for inner in branch.node:
                if inner.op_type != "NonMaxSuppression":
                    continue
                name = inner.input[1]
                while name in made_by and made_by[name].op_type == "Unsqueeze":
                    name = made_by[name].input[0]
                if _FIRST in name:
                    return name
    return None
