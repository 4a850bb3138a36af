"""Names for the layers of an ONNX graph: those they had before export, where the file still tells."""

import re
from collections import Counter
from collections.abc import Container, Sequence

from onnx import NodeProto
from torch import nn

_OPERATOR = re.compile(r"(Conv|Gemm|MatMul|Einsum|LSTM|GRU|RNN|BiasAdd|Tensordot)\w*")
"""A last scope that is the operator itself."""
_TAKEN = frozenset((*dir(nn.Module()), "image_input", "input_size", "inputs"))
"""Attributes of the module that holds the layers."""


def layer_names(nodes: Sequence[NodeProto]) -> list[str]:
    """Dotted names for the layers of these nodes, made of letters, digits, `_` and `-`.

    All differ, and none is the parent of another, so that they can be names of modules.
    """
    biases = Counter(node.input[2] for node in nodes if len(node.input) > 2)
    wanted = [
        _wanted_name(node, {name for name, uses in biases.items() if uses == 1}) or f"{node.op_type}_{index}"
        for index, node in enumerate(nodes)
    ]
    parents = {".".join(parts[:i]) for parts in (name.split(".") for name in wanted) for i in range(1, len(parts))}
    names: list[str] = []
    for node, wish in zip(nodes, wanted, strict=True):
        name = base = f"{wish}.{node.op_type.lower()}" if wish in parents else wish
        count = 0
        while name in names or name in parents:
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return names


def _wanted_name(node: NodeProto, own_biases: Container[str]) -> str:
    """The module's name in the exporter's program: from that of its weight, its scopes or its bias."""
    weight, bias = ([*node.input, "", "", ""][i] for i in (1, 2))
    if weight.endswith(".weight"):
        return _clean(weight.removesuffix(".weight"))
    path = node.name.removesuffix("/MatMulAddFusion").strip("/").split("/")
    scopes: list[str] = []
    for scope in path:
        if scopes and scope.startswith(scopes[-1] + "."):  # torch repeats the path of a list: block/block.0/block.0.1
            scopes.pop()
        scopes.append(scope)
    while len(scopes) > 1 and _OPERATOR.fullmatch(scopes[-1]):
        scopes.pop()
    place, owner = ".".join(scopes), re.sub(r"(?<=\w)[._]bias$", "", bias)
    if bias in own_biases and owner != bias and (len(path) == 1 or owner.startswith(place)):
        return _clean(owner)
    return _clean(place)


def _clean(name: str) -> str:
    """A dotted name of characters that need no quoting, with no part that the module has as an attribute already."""
    parts = (re.sub(r"[^0-9A-Za-z_-]+", "_", part).strip("_-") for part in name.split("."))
    return ".".join(f"{part}_" if part in _TAKEN else part for part in parts if part)
