"""ONNX files as modules: the outputs of ONNX Runtime, layers under their old names, one line for what cannot be."""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.commands.map import map_command
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.workload import count_workload
from nestevo_hw.errors import ConfigError, InputError
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.models.onnx import OnnxDetector as RuntimeDetector
from nestevo_hw.models.onnx import export_detector, unmatched
from nestevo_hw.models.onnx_import import OnnxDetector, import_onnx
from nestevo_hw.models.onnx_names import layer_names
from nestevo_hw.models.zoo import example_inputs, load_model, open_model


class Net(nn.Module):
    """BatchNorm, a grouped convolution, a shared head, a transposed one, and linear layers that export as MatMul."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.grouped, self.head = nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.Conv2d(8, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)
        self.tokens, self.last = nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.stem(x)).relu()
        x = self.head(x) + self.head(self.grouped(x).relu())
        return self.last(self.tokens(x.flatten(2).transpose(1, 2)).mean(1)), self.up(x)


def _export(model: nn.Module, path: Path, example: Tensor, **options: Any) -> Path:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated; the other one needs a package more
        torch.onnx.export(model.eval(), (example,), str(path), dynamo=False, opset_version=17, **options)
    return path


def _runtime(path: Path, x: Tensor) -> list[Tensor]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(y) for y in session.run(None, {session.get_inputs()[0].name: x.numpy()})]


def _saved(
    path: Path,
    nodes: Sequence[NodeProto],
    constants: dict[str, Any],
    shape: Sequence[int | str] = (1, 3, 4, 4),
    *,
    inputs: Sequence[str] = ("x",),
    kind: int = TensorProto.FLOAT,
    opsets: Sequence[tuple[str, int]] = (("", 17),),
    **options: Any,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path, **options)
    return path


def _weight(*shape: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_residual_network_keeps_its_names_tiles_work_and_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    native, x = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7), torch.rand(2, 3, 64, 48)
    path = _export(native, tmp_path / "net.onnx", x, input_names=["x"], dynamic_axes={"x": [0, 2, 3]})
    model, mapped = import_onnx(path), map_model(native)
    y = model(x)
    assert isinstance(y, Tensor)
    assert torch.allclose(y, _runtime(path, x)[0], atol=1e-4)
    imported = map_model(model)
    assert {(entry.name, entry.shape) for entry in imported.layers} == {(e.name, e.shape) for e in mapped.layers}
    assert imported.totals == mapped.totals
    assert count_workload(model, (64, 48)).macs == count_workload(native, (64, 48)).macs


def test_grouped_transposed_shared_and_linear_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 16, 12)
    path = _export(Net(), tmp_path / "net.onnx", x)
    model = import_onnx(path)
    assert model.input_size == (16, 12)
    report = map_model(model, 64)
    assert {(layer.name, layer.shape): layer.placement for layer in report.layers} == {
        ("stem", (8, 3, 3, 3)): "analog",
        ("head", (4, 8, 1, 1)): "analog",
        ("grouped", (8, 2, 3, 3)): "digital",
        ("tokens", (6, 4)): "analog",
        ("last", (5, 6)): "analog",
        ("up", (4, 4, 3, 3)): "digital",
    }
    teacher = AnalogTeacher(model, device="ideal", tile=64)
    teacher.program()
    for module in (model, copy.deepcopy(model), teacher.module):
        for got, expected in zip(module(x), _runtime(path, x), strict=True):
            assert torch.allclose(got, expected, atol=1e-5)
    noisy = AnalogTeacher(model, device="pcm", tile=64)
    noisy.calibrate([x])
    noisy.program()
    assert not torch.allclose(noisy.module(x)[0], model(x)[0], atol=1e-5)


def test_a_file_with_a_fixed_batch_takes_any_number_of_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 16, 12)
    path = _export(Net(), tmp_path / "net.onnx", x)
    model, more = import_onnx(path), torch.rand(5, 3, 16, 12)
    got = model(more)
    for index in range(0, 4, 2):
        for mine, expected in zip(got, _runtime(path, more[index : index + 2]), strict=True):
            assert torch.allclose(mine[index : index + 2], expected, atol=1e-5)
    assert [len(output) for output in got] == [5, 5]
    assert torch.allclose(got[0][4], _runtime(path, more[[4, 4]])[0][0], atol=1e-5)
    with pytest.raises(InputError, match="takes inputs of 3 x 16 x 12, got 3 x 16 x 16"):
        model(torch.rand(2, 3, 16, 16))


def test_a_detector_with_its_nms_runs_and_is_benchmarked(tmp_path: Path) -> None:
    detector, path = load_model("fasterrcnn-tiny-m3"), tmp_path / "detector.onnx"
    frames = torch.randint(0, 256, (2, 3, 128, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    export_detector(detector, path, frames[0])  # type: ignore[arg-type]
    model = import_onnx(path)
    assert isinstance(model, OnnxDetector)
    mapped, native = map_model(model), map_model(detector)
    assert mapped.totals == native.totals
    assert {layer.name for layer in mapped.layers} == {f"detector.{layer.name}" for layer in native.layers}
    for expected, got in zip(RuntimeDetector(path).predict(frames), model(as_list(frames)), strict=True):
        assert unmatched(expected, got, min_score=0.0) == unmatched(got, expected, min_score=0.0) == 0
        assert len(got["boxes"]) > 0
    options = ["--quick", "--frames", "2", "--repeats", "2", "--mu", "0.02", "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(bench_noise, [str(path), *options])
    assert result.exit_code == 0, result.stderr
    assert '"metric": "map50_vs_digital"' in result.stdout


@given(
    size=st.tuples(st.integers(7, 9), st.integers(7, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    auto_pad=st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_padding_of_a_convolution(
    tmp_path: Path, size: Any, kernel: Any, stride: Any, dilation: Any, pads: Any, auto_pad: str
) -> None:
    if auto_pad.startswith("SAME"):
        dilation = (1, 1)  # ONNX Runtime refuses the combination
    attributes: dict[str, Any] = {"strides": stride, "dilations": dilation, "kernel_shape": kernel}
    attributes |= {"pads": pads} if auto_pad == "NOTSET" else {"auto_pad": auto_pad}
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    path = _saved(tmp_path / "conv.onnx", [node], {"w": _weight(4, 3, *kernel), "b": _weight(4)}, ["n", 3, *size])
    model, x = import_onnx(path), torch.rand(2, 3, *size)
    assert torch.allclose(model(x), _runtime(path, x)[0], atol=1e-5)
    assert map_model(model, 64).totals.analog_layers == 1


@given(
    trans_a=st.booleans(),
    trans_b=st.booleans(),
    alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, -2.0]),
    bias=st.sampled_from([None, (), (1,), (5,), (1, 5), (4, 1), (4, 5)]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_form_of_a_matrix_product(
    tmp_path: Path, trans_a: bool, trans_b: bool, alpha: float, beta: float, bias: tuple[int, ...] | None
) -> None:
    attributes: dict[str, Any] = {"transA": int(trans_a), "transB": int(trans_b), "alpha": alpha, "beta": beta}
    constants = {"w": _weight(5, 4) if trans_b else _weight(4, 5)} | ({} if bias is None else {"b": _weight(*bias)})
    node = helper.make_node("Gemm", ["x", *constants], ["y"], **attributes)
    path = _saved(tmp_path / "gemm.onnx", [node], constants, [4, 4])
    model, x = import_onnx(path), torch.rand(4, 4)
    assert torch.allclose(model(x), _runtime(path, x)[0], atol=1e-5)
    as_layer = not trans_a and bias not in ((4, 1), (4, 5))
    assert [layer.kind for layer in map_model_anyway(model)] == ["Linear" if as_layer else "OnnxOperator"]


def map_model_anyway(model: nn.Module) -> list[Any]:
    """Placement of every layer, also where none is on the crossbar."""
    both = nn.ModuleList([model, nn.Linear(1, 1)])
    return [layer for layer in map_model(both, 64).layers if layer.name.startswith("0.")]


def test_weights_in_a_branch_are_computed_and_listed_as_digital(tmp_path: Path) -> None:
    def branch(name: str, sign: str) -> Any:
        nodes = [helper.make_node("Conv", ["h", "inner"], ["c"]), helper.make_node(sign, ["c"], [name])]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="outer"),
        helper.make_node("ReduceSum", ["h"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["more"]),
        helper.make_node("If", ["more"], ["z"], then_branch=branch("a", "Neg"), else_branch=branch("b", "Relu")),
        helper.make_node("Add", ["z", "h"], ["y"]),
    ]
    constants = {"w": _weight(4, 3, 1, 1), "inner": _weight(4, 4, 1, 1), "zero": np.float32(0.0)}
    path = _saved(tmp_path / "branch.onnx", nodes, constants)
    model = import_onnx(path)
    for x in (torch.rand(1, 3, 4, 4), -torch.rand(1, 3, 4, 4)):
        assert torch.allclose(model(x), _runtime(path, x)[0], atol=1e-5)
    placed = {layer.shape: layer.placement for layer in map_model(model, 64).layers}
    assert placed == {(4, 3, 1, 1): "analog", (4, 4, 1, 1): "digital"}


def test_images_as_tensorflow_orders_and_scales_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["t", "scale"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["y"], name="model/stem/Conv2D", auto_pad="SAME_UPPER", strides=[2, 2]),
    ]
    constants = {"scale": np.float32(1 / 255), "w": _weight(4, 3, 3, 3)}
    path = _saved(tmp_path / "tf.onnx", nodes, constants, ["n", 10, 12, 3])
    model = import_onnx(path)
    images = example_inputs(model, count=2)
    assert isinstance(images, Tensor)
    assert (images.shape, float(images.max())) == ((2, 3, 10, 12), 255.0)
    assert torch.allclose(model(images), _runtime(path, images.permute(0, 2, 3, 1).contiguous())[0], atol=1e-5)
    assert map_model(model, 64).layers[0].name == "model.stem"


def test_grey_images_and_plain_numbers(tmp_path: Path) -> None:
    grey = import_onnx(
        _saved(
            tmp_path / "g.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], {"w": _weight(2, 1, 3, 3)}, [1, 1, 9, 9]
        )
    )
    batch = example_inputs(grey, count=3)
    assert isinstance(batch, Tensor)
    assert (batch.shape, grey(batch).shape, float(batch.max())) == ((3, 1, 9, 9), (3, 2, 7, 7), 1.0)
    numbers = import_onnx(
        _saved(tmp_path / "n.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": _weight(6, 2)}, ["n", 6])
    )
    assert (numbers.input_size, numbers(torch.rand(4, 6)).shape) == (None, (4, 2))
    with pytest.raises(InputError, match="takes inputs of 6, got 3 x 64 x 64"):
        numbers(example_inputs(numbers))


def test_weights_stored_as_float16_but_computed_in_float32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["half"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["y"], transB=1),
    ]
    path = _saved(tmp_path / "half.onnx", nodes, {"half": _weight(5, 12).astype(np.float16)}, [2, 3, 2, 2])
    model, x = import_onnx(path), torch.rand(2, 3, 2, 2)
    assert torch.allclose(model(x), _runtime(path, x)[0], atol=1e-5)
    assert map_model(model, 64).totals.analog_layers == 1


def test_names_are_plain_distinct_and_no_parents_of_one_another() -> None:
    def node(name: str, *inputs: str) -> NodeProto:
        return helper.make_node("Gemm", ["x", *inputs], ["y"], name=name)

    names = layer_names(
        [
            node("/features/features.1/block/block.0/block.0.1/Conv", "onnx::Conv_1"),
            node("/attention/MatMul/MatMulAddFusion", "onnx::MatMul_2"),
            node("/attention/MatMul_1/MatMulAddFusion", "onnx::MatMul_3", "attention.query.bias"),
            node("/stem/Conv", "onnx::Conv_5", "elsewhere.bias"),
            node("node_7", "attention.out.weight"),
            node("node_8", "val_3", "attention.mlp.bias"),
            node("/head/Conv", "w"),
            node("/head/Conv_1", "v"),
            node("", "u"),
            node("forward", "w2"),
            node('a" if print("ran") else "b', "w3"),
        ]
    )
    assert names == [
        "features.1.block.0.1", "attention.gemm", "attention.query", "stem", "attention.out", "attention.mlp",
        "head", "head_1", "Gemm_8", "forward_", "a_if_print_ran_else_b",
    ]  # fmt: skip


def test_commands_take_the_path(tmp_path: Path) -> None:
    path = _export(Net(), tmp_path / "net.onnx", torch.rand(1, 3, 16, 12))
    result = CliRunner().invoke(map_command, [str(path), "--json"])
    assert result.exit_code == 0, result.stderr
    chosen = open_model(str(path))
    assert (chosen.trained, chosen.task, chosen.origin) == (True, "classification", f"weights of {path}")
    with pytest.raises(ConfigError, match="brings its own weights"):
        open_model(str(path), weights=tmp_path / "w.safetensors")


_CONV = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
_UNPACK = helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], name="unpack")
_PACKED = {"q": np.ones((4, 3, 1, 1), np.int8), "scale": np.float32(1)}
_CUSTOM = helper.make_node("Blur", ["x"], ["y"], name="soft", domain="my.ops")
_HALF = _weight(4, 3, 1, 1).astype(np.float16)
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
        ([helper.make_node("Add", ["a", "b"], ["y"])], {}, {"inputs": ["a", "b"]}, "one input, .* but it has 2: a, b"),
        ([_CUSTOM], {}, {"opsets": [("", 17), ("my.ops", 1)]}, "node 'soft' is a my.ops:Blur, which ONNX Runtime"),
        ([_CONV], {"w": _weight(4, 3, 1, 1)}, {"opsets": [("", 99)]}, "operator set 99 is newer than"),
    ],
)
def test_files_that_cannot_be_mapped_say_why_in_one_line(
    tmp_path: Path, nodes: Any, constants: Any, options: Any, message: str
) -> None:
    path = _saved(tmp_path / "file.onnx", nodes, constants, **options)
    with pytest.raises(InputError, match=message) as caught:
        import_onnx(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    result = CliRunner().invoke(map_command, [str(path)])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_missing_and_corrupt_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ONNX file"):
        import_onnx(tmp_path / "missing.onnx")
    path = _saved(
        tmp_path / "outside.onnx", [_CONV], {"w": _weight(4, 3, 1, 1)},
        save_as_external_data=True, location="weights.bin", size_threshold=0,
    )  # fmt: skip
    assert map_model(import_onnx(path), 64).totals.analog_layers == 1
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"keeps its weights in weights\.bin, which is not beside it; copy both"):
        import_onnx(path)
    path.write_bytes(b"no protobuf at all")
    with pytest.raises(InputError, match=r"not a readable ONNX file .*; export it again"):
        import_onnx(path)
