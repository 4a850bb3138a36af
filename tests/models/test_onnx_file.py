"""ONNX files that cannot be read or mapped say why in one line."""

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from handmade_onnx import saved, weights
from onnx import TensorProto, helper

from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.commands.map import map_command
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.models.onnx.imported import import_onnx

_CONV = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
_UNPACK = helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], name="unpack")
_PACKED = {"q": np.ones((4, 3, 1, 1), np.int8), "scale": np.float32(1)}
_CUSTOM = helper.make_node("Blur", ["x"], ["y"], name="soft", domain="my.ops")
_HALF = weights(4, 3, 1, 1).astype(np.float16)
_TO_HALF, _FROM_HALF = (
    helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
    helper.make_node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
)


@pytest.mark.parametrize(
    ("nodes", "constants", "options", "message"),
    [
        ([_CONV], {"w": np.full((4, 3, 1, 1), np.nan, np.float32)}, {}, "node 'stem' .Conv. holds NaN or infinite"),
        ([_CONV], {"w": _HALF}, {"kind": TensorProto.FLOAT16}, "expected float32 input but 'x' is tensor.float16."),
        (
            [_TO_HALF, helper.make_node("Conv", ["h", "w"], ["z"]), _FROM_HALF],
            {"w": _HALF},
            {},
            "weights 'w' are float16; export the model in float32",
        ),
        ([_UNPACK, _CONV], _PACKED, {}, "node 'unpack' .DequantizeLinear. is quantised; give the float32 model"),
        ([helper.make_node("Relu", ["x"], ["y"])], {}, {}, "no convolution or linear layer with constant weights"),
        ([helper.make_node("Add", ["a", "b"], ["y"])], {}, {"inputs": ["a", "b"]}, "no convolution or linear layer"),
        ([_CUSTOM], {}, {"opsets": [("", 17), ("my.ops", 1)]}, "node 'soft' is a my.ops:Blur, which ONNX Runtime"),
        ([_CONV], {"w": weights(4, 3, 1, 1)}, {"opsets": [("", 99)]}, "operator set 99 is newer than"),
    ],
)
def test_files_that_cannot_be_mapped_say_why_in_one_line(
    tmp_path: Path, nodes: Any, constants: Any, options: Any, message: str
) -> None:
    path = saved(tmp_path / "file.onnx", nodes, constants, **options)
    with pytest.raises(InputError, match=message) as caught:
        import_onnx(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    result = CliRunner().invoke(map_command, [str(path)])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_a_full_temporary_folder_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "file.onnx", [_CONV], {"w": weights(40, 30, 10, 10)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"^cannot write /.*simplified.onnx: .+; free space, or name another.*$"):
            import_onnx(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_missing_and_corrupt_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ONNX file"):
        import_onnx(tmp_path / "missing.onnx")
    path = saved(
        tmp_path / "outside.onnx", [_CONV], {"w": weights(4, 3, 1, 1)},
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    assert map_model(import_onnx(path), 64).totals.analog_layers == 1
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"keeps its weights in weights\.bin, which is not beside it; copy both"):
        import_onnx(path)
    path.write_bytes(b"no protobuf at all")
    with pytest.raises(InputError, match=r"not a readable ONNX file .*; export it again"):
        import_onnx(path)
