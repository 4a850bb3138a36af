"""Each form of a convolution or matrix product as a torch layer, and the names of the layers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from handmade_onnx import runtime, saved, weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper
from torch import nn

from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.models.onnx.imported import import_onnx
from nestevo_hw.models.onnx.names import layer_names


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
    path = saved(tmp_path / "conv.onnx", [node], {"w": weights(4, 3, *kernel), "b": weights(4)}, ["n", 3, *size])
    model, x = import_onnx(path), torch.rand(2, 3, *size)
    assert torch.allclose(model(x), runtime(path, x)[0], atol=1e-5)
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
    constants = {"w": weights(5, 4) if trans_b else weights(4, 5)} | ({} if bias is None else {"b": weights(*bias)})
    node = helper.make_node("Gemm", ["x", *constants], ["y"], **attributes)
    path = saved(tmp_path / "gemm.onnx", [node], constants, [4, 4])
    model, x = import_onnx(path), torch.rand(4, 4)
    assert torch.allclose(model(x), runtime(path, x)[0], atol=1e-5)
    as_layer = not trans_a and bias not in ((4, 1), (4, 5))
    assert [layer.kind for layer in map_model_anyway(model)] == ["Linear" if as_layer else "OnnxOperator"]


@pytest.mark.parametrize("shape", [(5, 1), (1, 5), (5,)])
def test_a_bias_for_each_input_is_none_for_each_output(tmp_path: Path, shape: tuple[int, ...]) -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    path = saved(tmp_path / "gemm.onnx", [node], {"w": weights(4, 5), "b": weights(*shape)}, [5, 4])
    x = torch.rand(5, 4)
    assert torch.allclose(import_onnx(path)(x), runtime(path, x)[0], atol=1e-5)


def map_model_anyway(model: nn.Module) -> list[Any]:
    """Placement of every layer, also where none is on the crossbar."""
    both = nn.ModuleList([model, nn.Linear(1, 1)])
    return [layer for layer in map_model(both, 64).layers if layer.name.startswith("0.")]


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
        "features.1.block.0.1", "attention.gemm", "attention.query", "stem", "attention.out", "attention.mlp", "head",
        "head_1", "Gemm_8", "forward_", "a_if_print_ran_else_b",
    ]  # fmt: skip


def test_no_code_in_a_name_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    node = helper.make_node("Conv", ["x", "w"], ["y"], name=f'a" if open("{marker}", "w") else "b')
    model = import_onnx(saved(tmp_path / "hostile.onnx", [node], {"w": weights(4, 3, 1, 1)}))
    model(torch.rand(1, 3, 4, 4))
    map_model(model, 64)
    assert not marker.exists()
