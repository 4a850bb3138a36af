"""ONNX files as modules: the outputs of ONNX Runtime, layers that can be mapped, and one line for what cannot be."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.commands.map import map_command
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.errors import ConfigError, InputError
from nestevo_hw.models.onnx import export_detector
from nestevo_hw.models.onnx_import import OnnxLayers, OnnxModel, import_onnx
from nestevo_hw.models.zoo import load_model, open_model


class Net(nn.Module):
    """BatchNorm, a grouped convolution, a shared head, and a linear layer that exports as MatMul."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.grouped, self.head = nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.Conv2d(8, 4, 1)
        self.tokens, self.last = nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = self.head(x) + self.head(self.grouped(x).relu())
        return self.last(self.tokens(x.flatten(2).transpose(1, 2)).mean(1))


@pytest.fixture
def net_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.norm.running_mean.normal_()
        net.norm.running_var.uniform_(0.5, 2.0)
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated
        torch.onnx.export(net.eval(), (torch.rand(2, 3, 16, 12),), str(path), dynamo=False, opset_version=17)
    return path


def _runtime(path: Path, x: Tensor) -> Tensor:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def test_outputs_are_those_of_onnx_runtime_and_every_layer_is_found_once(net_file: Path) -> None:
    model, x = import_onnx(net_file), torch.rand(2, 3, 16, 12)
    assert isinstance(model, OnnxModel)
    assert model.input_size == (16, 12)
    expected = _runtime(net_file, x)
    with torch.no_grad():
        assert torch.allclose(model(x), expected, atol=1e-5)
    report = map_model(model, 64)
    assert sorted(layer.shape for layer in report.layers) == sorted(
        [(8, 3, 3, 3), (8, 2, 3, 3), (4, 8, 1, 1), (6, 4), (5, 6)]
    )
    assert [layer.reason for layer in report.layers if layer.placement == "digital"] == [
        "grouped convolution (4 groups)"
    ]
    teacher = AnalogTeacher(model, device="ideal", tile=64)
    teacher.program()
    with torch.no_grad():
        assert torch.allclose(teacher.module(x), expected, atol=1e-5)


def test_weights_stored_as_float16_and_a_newer_reshape(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(5, 12)).astype(np.float16)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["half"], ["weight"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["x", "shape"], ["flat"], allowzero=1),
            helper.make_node("Gemm", ["flat", "weight"], ["y"], transB=1),
        ],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 5])],
        [numpy_helper.from_array(weight, "half"), numpy_helper.from_array(np.array([2, 12]), "shape")],
    )
    path = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    model, x = import_onnx(path), torch.rand(2, 3, 2, 2)
    with torch.no_grad():
        assert torch.allclose(model(x), _runtime(path, x), atol=1e-5)
    assert map_model(model, 64).totals.analog_layers == 1


def test_a_detector_with_its_nms_gives_its_layers(tmp_path: Path) -> None:
    detector, path = load_model("fasterrcnn-tiny-m3"), tmp_path / "detector.onnx"
    export_detector(detector, path, torch.randint(0, 256, (3, 128, 160), dtype=torch.uint8))
    model = import_onnx(path)
    assert isinstance(model, OnnxLayers)
    mapped, native = map_model(model), map_model(detector)
    assert mapped.totals.tiles == native.totals.tiles
    assert sorted(layer.shape for layer in mapped.layers) == sorted(layer.shape for layer in native.layers)
    with pytest.raises(InputError, match="can be mapped but not run as a torch module"):
        model(torch.rand(3, 128, 160))
    result = CliRunner().invoke(bench_noise, [str(path), "--quick", "--out", str(tmp_path / "out")])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "can be mapped but not run" in result.stderr


def test_commands_take_the_path(net_file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(map_command, [str(net_file), "--json"])
    assert result.exit_code == 0, result.stderr
    chosen = open_model(str(net_file))
    assert (chosen.trained, chosen.task, chosen.origin) == (True, "classification", f"weights of {net_file}")
    with pytest.raises(ConfigError, match="brings its own weights"):
        open_model(str(net_file), weights=tmp_path / "w.safetensors")


def _saved(path: Path, inputs: list[str], initializers: list[TensorProto]) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Add", [inputs[0], inputs[-1] if len(inputs) > 1 else "c"], ["y"])],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 4, 4])],
        initializers,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_files_that_cannot_be_mapped_are_named(tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(b"no protobuf at all")
    constant = numpy_helper.from_array(np.ones((1, 3, 4, 4), np.float32), "c")
    two = _saved(tmp_path / "two.onnx", ["a", "b"], [])
    bare = _saved(tmp_path / "bare.onnx", ["a"], [constant])
    for path, message in (
        (tmp_path / "missing.onnx", "no ONNX file"),
        (corrupt, "not a readable ONNX model"),
        (two, "expected one input, an image, but has 2: a, b"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            import_onnx(path)
        assert "\n" not in str(caught.value)
    result = CliRunner().invoke(map_command, [str(bare)])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "no layer of the model can be placed" in result.stderr
