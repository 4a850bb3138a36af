"""An ONNX file as a simplified graph, or one line on why it cannot be read."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, defs
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.base.files import require_file

if TYPE_CHECKING:
    import onnxruntime as ort


def read_simplified(path: Path) -> "tuple[ModelProto, ort.InferenceSession]":
    """The graph with its constants and BatchNorm folded by ONNX Runtime, and a session of it.

    Raises:
        InputError: the file or its external data is missing or corrupt, or it holds operators that ONNX Runtime
            does not know; the message names the first one.
        OutputError: the simplified graph cannot be written to the temporary folder.
    """
    require_file(path, "ONNX file")
    try:
        model = onnx.load(path, load_external_data=False)
        _check_external_data(model, path)
        # Loaded here: ONNX Runtime would look for external data beside the simplified file.
        load_external_data_for_model(model, str(path.parent))
    except InputError:
        raise
    except Exception as error:  # protobuf's and onnx's exceptions share no other base class
        raise InputError(f"{path} is not a readable ONNX file ({first_line(error)}); export it again") from error
    with tempfile.TemporaryDirectory() as folder:
        simplified = Path(folder) / "simplified.onnx"
        try:
            session = open_session(model, simplify="basic", write_to=simplified)
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but Exception
            if simplified.exists():  # it writes once the model is known to be sound
                raise OutputError(
                    f"cannot write {simplified}: {first_line(error)}; free space, or name another folder in TMPDIR"
                ) from error
            raise InputError(f"{path}: {_problem(model) or first_line(error)}") from error
        return onnx.load(simplified), session


def open_session(
    model: ModelProto, *, simplify: Literal["no", "basic", "all"] = "all", write_to: Path | None = None
) -> "ort.InferenceSession":
    """A session on the CPU with one thread.

    Args:
        model: with its weights inside.
        simplify: which of ONNX Runtime's graph optimisations to apply.
        write_to: file for the simplified model.
    """
    # Otherwise the import starts a telemetry thread and opens a database in the user's cache (1.31).
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.graph_optimization_level = {
        "no": levels.ORT_DISABLE_ALL, "basic": levels.ORT_ENABLE_BASIC, "all": levels.ORT_ENABLE_ALL,
    }[simplify]  # fmt: skip
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Dozens of sessions would each keep an arena of their largest activations.
    options.enable_cpu_mem_arena = False
    if write_to is not None:
        options.optimized_model_filepath = str(write_to)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def first_line(error: Exception) -> str:
    """Of an error's text."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """Bodies of a loop or branches of a condition."""
    return [
        graph
        for entry in node.attribute
        for graph in ([entry.g] if entry.type == AttributeProto.GRAPH else entry.graphs)
    ]


def _check_external_data(model: ModelProto, path: Path) -> None:
    for tensor in model.graph.initializer:
        if uses_external_data(tensor):
            location = ExternalDataInfo(tensor).location
            if not (path.parent / location).is_file():
                raise InputError(f"{path} keeps its weights in {location}, which is not beside it; copy both files")


def _problem(model: ModelProto) -> str:
    """What ONNX Runtime says in many words: too new an operator set, or an operator of somebody's own."""
    newest = defs.onnx_opset_version()
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset > newest:
        return f"operator set {opset} is newer than {newest}, the last one known here; export it with a lower opset"
    local = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model.graph):
        standard = node.domain in ("", "ai.onnx") and defs.has(node.op_type)
        custom = node.domain not in ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
        if not standard and (node.domain, node.op_type) not in local and (custom or not node.domain):
            kind = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
            return f"node {node.name!r} is a {kind}, which ONNX Runtime does not know; export without that operator"
    return ""


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from _nodes(inner)
