"""ONNX files as modules: the outputs of ONNX Runtime, layers under their old names, one line for what cannot be."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from handmade_onnx import runtime, saved, weights
from onnx import TensorProto, helper
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.commands.map import map_command
from nestevo_hw.crossbar.chips.workload import count_workload
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.models.inputs import example_inputs
from nestevo_hw.models.onnx.export import OnnxDetector, export_detector, unmatched
from nestevo_hw.models.onnx.imported import ImportedDetector, import_onnx
from nestevo_hw.models.zoo import load_model, open_model


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


def test_a_residual_network_keeps_its_names_tiles_work_and_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    native, x = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7), torch.rand(2, 3, 64, 48)
    path = _export(native, tmp_path / "net.onnx", x, input_names=["x"], dynamic_axes={"x": [0, 2, 3]})
    model, mapped = import_onnx(path), map_model(native)
    y = model(x)
    assert isinstance(y, Tensor)
    assert torch.allclose(y, runtime(path, x)[0], atol=1e-4)
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
        ("up", (4, 4, 3, 3)): "analog",
    }
    teacher = AnalogTeacher(model, device="ideal", tile=64)
    teacher.program()
    for module in (model, copy.deepcopy(model), teacher.module):
        for got, expected in zip(module(x), runtime(path, x), strict=True):
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
        for mine, expected in zip(got, runtime(path, more[index : index + 2]), strict=True):
            assert torch.allclose(mine[index : index + 2], expected, atol=1e-5)
    assert [len(output) for output in got] == [5, 5]
    assert torch.allclose(got[0][4], runtime(path, more[[4, 4]])[0][0], atol=1e-5)
    with pytest.raises(InputError, match="takes inputs of 3 x 16 x 12, got 3 x 16 x 16"):
        model(torch.rand(2, 3, 16, 16))


def test_a_detector_with_its_nms_runs_and_is_benchmarked(tmp_path: Path) -> None:
    detector, path = load_model("fasterrcnn-tiny-m3"), tmp_path / "detector.onnx"
    frames = torch.randint(0, 256, (2, 3, 128, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    export_detector(detector, path, frames[0])  # type: ignore[arg-type]
    model = import_onnx(path)
    assert isinstance(model, ImportedDetector)
    mapped, native = map_model(model), map_model(detector)
    assert mapped.totals == native.totals
    assert {layer.name for layer in mapped.layers} == {f"detector.{layer.name}" for layer in native.layers}
    for expected, got in zip(OnnxDetector(path).predict(frames), model(as_list(frames)), strict=True):
        assert unmatched(expected, got, min_score=0.0) == unmatched(got, expected, min_score=0.0) == 0
        assert len(got["boxes"]) > 0
    options = ["--quick", "--frames", "2", "--repeats", "2", "--mu", "0.02", "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(bench_noise, [str(path), *options])
    assert result.exit_code == 0, result.stderr
    assert '"metric": "map50_vs_digital"' in result.stdout


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
    constants = {"w": weights(4, 3, 1, 1), "inner": weights(4, 4, 1, 1), "zero": np.float32(0.0)}
    path = saved(tmp_path / "branch.onnx", nodes, constants)
    model = import_onnx(path)
    for x in (torch.rand(1, 3, 4, 4), -torch.rand(1, 3, 4, 4)):
        assert torch.allclose(model(x), runtime(path, x)[0], atol=1e-5)
    placed = {layer.shape: layer.placement for layer in map_model(model, 64).layers}
    assert placed == {(4, 3, 1, 1): "analog", (4, 4, 1, 1): "digital"}


class Recurrent(nn.Module):
    """A recurrent layer between two that the crossbar can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.memory, self.last = nn.Conv2d(3, 8, 3), nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.memory(self.stem(x).flatten(2).transpose(1, 2))[0])


def test_recurrent_weights_are_computed_and_listed_as_digital(tmp_path: Path) -> None:
    torch.manual_seed(0)
    native, x = Recurrent(), torch.rand(1, 3, 6, 6)
    path = _export(native, tmp_path / "lstm.onnx", x)
    model = import_onnx(path)
    assert torch.allclose(model(x), runtime(path, x)[0], atol=1e-5)
    mapped, expected = map_model(model, 64), map_model(native, 64, keep_digital=["memory"])
    assert {layer.name: layer.placement for layer in mapped.layers} == {
        "stem": "analog", "memory": "digital", "last": "analog",
    }  # fmt: skip
    assert mapped.totals.analog_weight_share == pytest.approx(expected.totals.analog_weight_share)


def test_images_as_tensorflow_orders_and_scales_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["t", "scale"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["y"], name="model/stem/Conv2D", auto_pad="SAME_UPPER", strides=[2, 2]),
    ]
    constants = {"scale": np.float32(1 / 255), "w": weights(4, 3, 3, 3)}
    path = saved(tmp_path / "tf.onnx", nodes, constants, ["n", 10, 12, 3])
    model = import_onnx(path)
    images = example_inputs(model, count=2)
    assert isinstance(images, Tensor)
    assert (images.shape, float(images.max())) == ((2, 3, 10, 12), 255.0)
    assert torch.allclose(model(images), runtime(path, images.permute(0, 2, 3, 1).contiguous())[0], atol=1e-5)
    assert map_model(model, 64).layers[0].name == "model.stem"


def test_grey_images_and_plain_numbers(tmp_path: Path) -> None:
    grey = import_onnx(
        saved(
            tmp_path / "g.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weights(2, 1, 3, 3)}, [1, 1, 9, 9]
        )
    )
    batch = example_inputs(grey, count=3)
    assert isinstance(batch, Tensor)
    assert (batch.shape, grey(batch).shape, float(batch.max())) == ((3, 1, 9, 9), (3, 2, 7, 7), 1.0)
    numbers = import_onnx(
        saved(tmp_path / "n.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights(6, 2)}, ["n", 6])
    )
    assert (numbers.input_size, numbers(torch.rand(4, 6)).shape) == (None, (4, 2))
    assert example_inputs(numbers, count=2).shape == (2, 6)
    with pytest.raises(InputError, match="takes inputs of 6, got 3 x 64 x 64"):
        numbers(torch.rand(2, 3, 64, 64))


def test_an_output_that_is_a_constant(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("Identity", ["k"], ["z"])]
    constants = {"w": weights(4, 3, 1, 1), "k": weights(2, 3)}
    path = saved(tmp_path / "k.onnx", nodes, constants, outputs=("y", "z"))
    x = torch.rand(1, 3, 4, 4)
    for mine, theirs in zip(import_onnx(path)(x), runtime(path, x), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "white"),
    [
        ([("Gather", ["x", "bgr"], {"axis": 1}), ("Sub", ["t0", "means"], {})], 255.0),
        ([("Resize", ["x", "", "scales"], {}), ("Div", ["t0", "most"], {})], 255.0),
        ([("BatchNormalization", ["x", "ones", "ones", "means3", "ones"], {})], 255.0),
        ([("Gather", ["x", "bgr"], {"axis": 1}), ("Sub", ["t0", "halves"], {})], 1.0),
        ([("BatchNormalization", ["x", "ones", "ones", "ones", "ones"], {})], 1.0),
    ],
)
def test_the_value_of_white_is_told_from_what_a_file_does_to_its_pixels(tmp_path: Path, nodes, white) -> None:
    one = np.ones(3, np.float32)
    constants = {
        "bgr": np.array([2, 1, 0]), "means": np.full((1, 3, 1, 1), 120, np.float32), "means3": 120 * one, "ones": one,
        "halves": np.full((1, 3, 1, 1), 0.5, np.float32), "most": np.array(255, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32), "w": weights(4, 3, 1, 1),
    }  # fmt: skip
    steps = [
        helper.make_node(operator, names, [f"t{k}"], **attributes)
        for k, (operator, names, attributes) in enumerate(nodes)
    ]
    used = {name for _, names, _ in nodes for name in names} | {"w"}
    # What comes first stays in the graph only if no convolution takes it in.
    steps += [helper.make_node("Relu", [f"t{len(nodes) - 1}"], ["r"]), helper.make_node("Conv", ["r", "w"], ["y"])]
    path = saved(tmp_path / "w.onnx", steps, {name: value for name, value in constants.items() if name in used})
    assert import_onnx(path).image_input.white == white


def test_weights_stored_as_float16_but_computed_in_float32(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["half"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["y"], transB=1),
    ]
    path = saved(tmp_path / "half.onnx", nodes, {"half": weights(5, 12).astype(np.float16)}, [2, 3, 2, 2])
    model, x = import_onnx(path), torch.rand(2, 3, 2, 2)
    assert torch.allclose(model(x), runtime(path, x)[0], atol=1e-5)
    assert map_model(model, 64).totals.analog_layers == 1


def test_commands_take_the_path(tmp_path: Path) -> None:
    path = _export(Net(), tmp_path / "net.onnx", torch.rand(1, 3, 16, 12))
    result = CliRunner().invoke(map_command, [str(path), "--json"])
    assert result.exit_code == 0, result.stderr
    chosen = open_model(str(path))
    assert (chosen.trained, chosen.task, chosen.origin) == (True, "classification", f"weights of {path}")
    with pytest.raises(ConfigError, match="brings its own weights"):
        open_model(str(path), weights=tmp_path / "w.safetensors")


def test_bytes_and_several_inputs(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["y8"]),
        helper.make_node("Cast", ["y8"], ["y"], to=TensorProto.UINT8),
    ]
    path = saved(tmp_path / "u.onnx", nodes, {"w": np.abs(weights(2, 3, 3, 3))}, ["n", 3, 6, 6], kind=TensorProto.UINT8)
    model = import_onnx(path)
    images = example_inputs(model, count=2)
    assert isinstance(images, Tensor)
    assert (model.image_input.dtype, float(images.max())) == (torch.uint8, 255.0)
    assert torch.equal(model(images), model(images.to(torch.uint8)))

    nodes = [
        helper.make_node("Conv", ["a", "w"], ["c"]),
        helper.make_node("Mul", ["c", "b"], ["y"]),
    ]
    path = saved(tmp_path / "two.onnx", nodes, {"w": weights(3, 3, 1, 1)}, [2, 3, 4, 4], inputs=("a", "b"))
    two = import_onnx(path)
    a, b = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    expected = torch.nn.functional.conv2d(a, torch.from_numpy(weights(3, 3, 1, 1))) * b
    got = two({"b": b, "a": a})  # five samples in calls of two
    assert isinstance(got, Tensor)
    assert torch.allclose(got, expected, atol=1e-5)
    with pytest.raises(InputError, match="takes 2 inputs, a, b, which cannot be made up; give --data"):
        example_inputs(two)
    with pytest.raises(InputError, match="the ONNX file takes a, b, got a"):
        two(a)
    with pytest.raises(InputError, match="takes inputs of 3 x 4 x 4 as b, got 3 x 2 x 2"):
        two({"a": a, "b": torch.rand(5, 3, 2, 2)})
