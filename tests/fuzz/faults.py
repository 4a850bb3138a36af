"""Ways in which a file can be wrong, whatever it should hold, and files that are right to begin with."""

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

Content = str | bytes | Callable[[Path], None]
"""Of a file: as it stands, or what makes it."""


def place(folder: Path, files: Mapping[str, Content]) -> None:
    """Make files by their names below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


ANY_FILE: Mapping[str, Content] = {
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "loop": _loop,
    "empty": b"",
    "binary": bytes(range(256)) * 8,
    "utf16": '{"a": 1}'.encode("utf-16"),
    "latin1": "name = 'caf\xe9'".encode("latin-1"),
    "nul": b"\0" * 64,
    "blank": " \n\t\n",
}
"""Faults of a file of any kind."""

ANY_TEXT: Mapping[str, Content] = {
    "prose": "hello, world",
    "control": "\x1b[31mred\x1b[0m\x07 = \x1b]0;x\x07",
    "bom": b"\xef\xbb\xbf",
    "long-line": "x" * 3_000_000,
}

JSON: Mapping[str, Content] = {
    **ANY_FILE,
    **ANY_TEXT,
    "null": "null",
    "number": "1",
    "text": '"text"',
    "list": "[]",
    "object": "{}",
    "lists": "[[]]",
    "cut": '{"a": [1, 2',
    "nan": "NaN",
    "nan-inside": '{"a": NaN}',
    "huge-number": "1" * 5000,
    "huge-exponent": "[1e999]",
    "deep-list": "[" * 100_000,
    "deep-object": '{"a":' * 100_000,
    "deep-closed": "[" * 3000 + "]" * 3000,
    "surrogate": '{"format": "\\ud800"}',
    "quoted-megabytes": json.dumps("A" * 4_000_000),
    "key-of-megabytes": json.dumps({"A" * 4_000_000: 1}),
    "key-with-escapes": json.dumps({"\x1b[2J[/red]\n": 1}),
}

TOML: Mapping[str, Content] = {
    **ANY_FILE,
    **ANY_TEXT,
    "unknown-key": "no_such_key = 1",
    "key-of-megabytes": f'"{"A" * 4_000_000}" = 1',
    "value-of-megabytes": f'method = "{"A" * 4_000_000}"',
    "key-with-escapes": '"\\u001b[2J[/red]\\n" = 1',
    "deep-list": "a = " + "[" * 100_000,
    "deep-closed": "a = " + "[" * 2000 + "]" * 2000,
    "deep-table": "[" + ".".join("a" * 50_000) + "]",
    "huge-number": "seed = " + "1" * 5000,
    "twice": "seed = 1\nseed = 2",
    "date": "seed = 1979-05-27T07:32:00Z",
    "cut": "[window",
}

JSON_LINES: Mapping[str, Content] = {
    **{f"line-{name}": content for name, content in JSON.items()
       if name not in ("empty", "blank") and (isinstance(content, str | bytes) or name in ("fifo", "endless"))},
}  # fmt: skip


def tensors(header: bytes | object, *, length: int | None = None, data: bytes = b"") -> bytes:
    """A safetensors file with this header, said to be so long."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _spec(**changes: object) -> dict[str, object]:
    spec = {"architecture": "fasterrcnn-tiny", "classes": ["car"], "min_size": 64, "max_size": 80} | changes
    return {"__metadata__": {"format": "nestevo-hw-model", "spec": json.dumps(spec)}}


SAFETENSORS: Mapping[str, Content] = {
    **ANY_FILE,
    **ANY_TEXT,
    "header-cut": tensors({}, length=1000),
    "header-endless": tensors({}, length=2**63),
    "header-negative": tensors({}, length=2**64 - 1),
    "header-no-json": tensors(b"hello"),
    "header-deep": tensors(b"[" * 100_000),
    "header-list": tensors(b"[]"),
    "no-tensors": tensors({}),
    "other-program": tensors({"__metadata__": {"format": "pt"}}),
    "metadata-no-text": tensors({"__metadata__": {"format": 1}}),
    "offsets-wrong": tensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1]}}),
    "shape-huge": tensors({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 0]}}),
    "dtype-unknown": tensors({"a": {"dtype": "F7", "shape": [], "data_offsets": [0, 0]}}),
    "no-spec": tensors({"__metadata__": {"format": "nestevo-hw-model"}}),
    "spec-no-json": tensors({"__metadata__": {"format": "nestevo-hw-model", "spec": "{"}}),
    "spec-deep": tensors({"__metadata__": {"format": "nestevo-hw-model", "spec": "[" * 100_000}}),
    "spec-empty": tensors({"__metadata__": {"format": "nestevo-hw-model", "spec": "{}"}}),
    "spec-unknown-architecture": tensors(_spec(architecture="x\x1b[2J")),
    "spec-no-classes": tensors(_spec(classes=[])),
    "spec-classes-no-text": tensors(_spec(classes=[1])),
    "spec-size-negative": tensors(_spec(min_size=-1)),
    "spec-size-zero": tensors(_spec(min_size=0, max_size=0)),
    "spec-size-text": tensors(_spec(min_size="a")),
    "spec-weights-missing": tensors(_spec()),
}


def _onnx(**changes: object) -> bytes:
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    nodes = [helper.make_node(str(changes.get("operator", "Relu")), ["x"], [str(changes.get("output", "y"))])]
    graph = helper.make_graph([] if changes.get("nodes") == 0 else nodes, "g", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", int(str(changes.get("opset", 17))))])
    return made.SerializeToString()  # type: ignore[no-any-return]


ONNX: Mapping[str, Content] = {
    **ANY_FILE,
    **ANY_TEXT,
    "no-nodes": _onnx(nodes=0),
    "unknown-operator": _onnx(operator="NoSuch"),
    "loose-output": _onnx(output="z"),
    "opset-new": _onnx(opset=999),
    "opset-negative": _onnx(opset=-5),
    "no-weights": _onnx(),
    "cut": _onnx()[:40],
}


def _npz(**arrays: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import numpy as np

        with path.open("wb") as file:
            np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})

    return write


def _npz_of(name: str, member: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import zipfile

        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(name, member)

    return write


def _npy(shape: str, kind: str = "|u1") -> bytes:
    """The head of an array that is said to have this shape, and nothing behind it."""
    head = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


_IMAGES = [[[0] * 8] * 8] * 4
NPZ: Mapping[str, Content] = {
    **ANY_FILE,
    **ANY_TEXT,
    "empty-archive": _npz(),
    "no-labels": _npz(x=_IMAGES),
    "no-images": _npz(y=[0, 1, 0, 1]),
    "few-labels": _npz(x=_IMAGES, y=[0]),
    "negative-label": _npz(x=_IMAGES, y=[0, 1, -1, 1]),
    "huge-label": _npz(x=_IMAGES, y=[0, 1, 10**12, 1]),
    "labels-nan": _npz(x=_IMAGES, y=[0.0, float("nan"), 1.0, 1.0]),
    "labels-text": _npz(x=_IMAGES, y=["a", "b", "a", "b"]),
    "images-flat": _npz(x=[0, 1, 0, 1], y=[0, 1, 0, 1]),
    "images-none": _npz(x=[], y=[]),
    "images-nan": _npz(x=[[[float("nan")] * 8] * 8] * 4, y=[0, 1, 0, 1]),
    "shape-huge": _npz_of("x.npy", _npy("(1000000000, 1000, 1000)")),
    "shape-cut": _npz_of("x.npy", _npy("(4, 8, 8)")),
    "shape-negative": _npz_of("x.npy", _npy("(-4, 8, 8)")),
    "pickled": _npz_of("x.npy", _npy("(1,)", "|O") + b"cos\nsystem\n(S'false'\ntR."),
    "head-broken": _npz_of("x.npy", b"\x93NUMPY\x01\x00\xff\xff{"),
    "bomb": _npz_of("x.npy", _npy("(200000000,)") + bytes(200_000_000)),
}
