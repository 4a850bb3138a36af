"""What a graph decides by its input's values, where these are known to lie in a range: folded away."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper


class Range(NamedTuple):
    """All values of a tensor lie in it; of a truth value, 0 or 1."""

    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether there is but one value."""
        return self.low == self.high


def within_range(graph: GraphProto, low: float, high: float) -> None:
    """Fold what is decided by all of the input's values lying in a range, in place; the rest computes the same.

    Nodes that nothing reads any more are left.
    """
    ranges = {tensor.name: _of_constant(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    known = {name: one for name, one in ranges.items() if one is not None}
    known |= {entry.name: Range(low, high) for entry in graph.input}
    for node in graph.node:
        taken = [known.get(name) for name in node.input]
        rule = _RULES.get(node.op_type)
        if rule is None or not taken or any(one is None for one in taken):
            continue
        found = rule([one for one in taken if one is not None])
        if found is None:
            continue
        known[node.output[0]] = found
        same = _same(node, known)
        if same is not None:
            node.CopyFrom(helper.make_node("Identity", [same], node.output, name=node.name))


def _same(node: NodeProto, known: Mapping[str, Range]) -> str | None:
    """The input that a node gives as it is."""
    first, *others = (str(name) for name in node.input)
    if node.op_type == "Where" and known[first].decided:
        return others[0] if known[first].low else others[1]
    if node.op_type == "Clip" and known[first] == known[node.output[0]]:
        return first
    if node.op_type == "Div" and known[others[0]] == Range(1.0, 1.0):
        return first
    return None


def _of_constant(values: object) -> Range | None:
    array = np.asarray(values)
    if array.size == 0 or array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        return None
    return Range(float(array.min()), float(array.max()))


def _where(taken: list[Range]) -> Range:
    condition, yes, no = taken
    if condition.decided:
        return yes if condition.low else no
    return Range(min(yes.low, no.low), max(yes.high, no.high))


def _greater(taken: list[Range]) -> Range:
    a, b = taken
    return Range(float(a.low > b.high), float(a.high > b.low))


def _abs(taken: list[Range]) -> Range:
    ends = sorted(map(abs, taken[0]))
    return Range(0.0 if taken[0].low <= 0 <= taken[0].high else ends[0], ends[1])


def _clip(taken: list[Range]) -> Range:
    one, low, high = taken
    return Range(min(max(one.low, low.low), high.high), min(max(one.high, low.low), high.high))


def _quotient(taken: list[Range]) -> Range | None:
    one, by = taken
    ends = [a / b for a in one for b in by] if by.low > 0 else []
    return Range(min(ends), max(ends)) if ends else None


_RULES: dict[str, Callable[[list[Range]], Range | None]] = {
    "Abs": _abs, "Less": lambda taken: _greater(taken[::-1]), "Greater": _greater, "Where": _where,
    "ReduceMax": lambda taken: taken[0], "Clip": lambda taken: _clip(taken) if len(taken) == 3 else None,
    "Div": _quotient,
}  # fmt: skip
