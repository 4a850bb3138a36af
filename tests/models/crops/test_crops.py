"""What a network gives on a crop, pasted into what it gave before, is what it gives on the whole image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from nestevo_hw.models.onnx.crops.cutting import between, of_any_size, read_part, split_local
from nestevo_hw.models.onnx.crops.geometry import Network, Node, Piece, Repeating, Sliding
from nestevo_hw.models.onnx.crops.ranges import within_range
from nestevo_hw.models.onnx.crops.reading import NotLocal, network_of
from nestevo_hw.models.onnx.crops.spans import Rect, Span
from tests.models.crops.graphs import CHANNELS, chains, one_after_the_other, rects, run


def pasted(network, model, before, image, changed):
    """Outputs after a change, of the crop alone; None where there is none."""
    gives = network.changed({"x": changed})
    if not gives:
        return before, 0.0
    crop = network.crop(gives)
    if crop is None:
        return None
    made = run(model, x=np.ascontiguousarray(image[crop.takes["x"].slices]))["y"]
    after = before.copy()
    after[crop.gives["y"].slices] = made[crop.from_["y"].slices]
    return after, crop.share


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.tuples(st.integers(12, 40), st.integers(12, 40)), shortcut=st.sampled_from([0, 1, 2]))
def test_a_crop_gives_what_the_whole_does(data, size, shortcut):
    model = one_after_the_other(data.draw(chains(size)), size, shortcut=shortcut)
    changed = data.draw(rects(size), label="changed")
    network, cropped = network_of(model, {"x": 64}), of_any_size(model)
    draw = np.random.default_rng(1)
    image = draw.standard_normal((1, CHANNELS, *size)).astype(np.float32)
    before = run(model.SerializeToString(), x=image)["y"]
    image[changed.slices] += draw.standard_normal((changed.rows.size, changed.columns.size)).astype(np.float32)
    wanted = run(model.SerializeToString(), x=image)["y"]
    found = pasted(network, cropped, before, image, changed)
    if found is None:
        return
    scale = max(1.0, float(np.abs(wanted).max()))
    assert np.abs(found[0] - wanted).max() <= 1e-5 * scale


def test_a_small_change_of_a_residual_block_takes_a_small_crop():
    model = one_after_the_other([], (96, 96), shortcut=1)
    network = network_of(model)
    changed = Rect(Span(40, 48), Span(0, 8))
    (gives,) = network.changed({"x": changed}).values()
    assert gives == Rect(Span(38, 50), Span(0, 10))
    crop = network.crop({"y": gives})
    assert crop.takes["x"] == Rect(Span(36, 52), Span(0, 12))
    assert crop.from_["y"] == Rect(Span(2, 14), Span(0, 10))
    assert crop.share == pytest.approx(16 * 12 / 96**2)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_of_a_crop_is_right_is_counted_cell_by_cell(data):
    def number(least, most):
        return data.draw(st.integers(least, most))

    kernel, stride, dilation, cells = number(1, 4), number(1, 3), number(1, 2), number(8, 20)
    before, after = number(0, kernel), number(0, kernel)
    step = Sliding(kernel, stride, before, after, dilation)
    start = number(0, cells - 1)
    stop = number(start + 1, cells)
    right = Span(number(start, stop - 1), stop - number(0, 1))
    outputs = step.length(cells)
    made = step.right(Piece(start, stop - start, right), cells, outputs)
    if start % stride:
        assert made is None
        return
    for output in range(start // stride, min(outputs, start // stride + step.length(stop - start))):
        seen = [output * stride - before + k * dilation for k in range(kernel)]
        if output in range(*made.right):
            assert all(cell in range(*right) or not 0 <= cell < cells for cell in seen)
        else:
            assert not all(cell in range(*right) for cell in seen)
    assert made.right.stop <= outputs
    whole = step.right(Piece(0, cells, Span(0, cells)), cells, outputs)
    assert whole.right == Span(0, outputs)


def test_what_a_strided_convolution_skips_changes_nothing():
    node = Node(takes=("x",), gives=("y",), rows=Sliding(stride=2), columns=Sliding(stride=2))
    network = Network({"x": 1}, ("y",), (node,), {"x": (8, 8), "y": (4, 4)})
    assert network.changed({"x": Rect(Span(3, 4), Span(2, 3))}) == {}
    assert network.changed({"x": Rect(Span(2, 4), Span(2, 3))}) == {"y": Rect(Span(1, 2), Span(1, 2))}


def test_levels_of_a_pyramid_are_cropped_alike():
    nodes = (
        Node(takes=("top",), gives=("up",), rows=Repeating(2), columns=Repeating(2)),
        Node(takes=("up", "low"), gives=("sum",)),
        Node(takes=("sum",), gives=("y",), rows=Sliding(3, 1, 1, 1), columns=Sliding(3, 1, 1, 1)),
    )
    sizes = {"top": (8, 8), "low": (16, 16), "up": (16, 16), "sum": (16, 16), "y": (16, 16)}
    network = Network({"top": 4, "low": 2}, ("y",), nodes, sizes)
    gives = network.changed({"low": Rect(Span(8, 9), Span(8, 9))})
    crop = network.crop(gives)
    assert crop.takes == {"top": Rect(Span(3, 6), Span(3, 6)), "low": Rect(Span(6, 12), Span(6, 12))}
    with pytest.raises(ValueError, match="different grids"):
        Network({"top": 2, "low": 2}, ("y",), nodes, sizes)


def test_uneven_levels_are_run_whole():
    node = Node(takes=("top",), gives=("y",), rows=Repeating(2), columns=Repeating(2))
    network = Network({"top": 2}, ("y",), (node,), {"top": (8, 8), "y": (15, 16)})
    assert network.crop(network.changed({"top": Rect(Span(0, 2), Span(0, 2))})) is None


def squeezed(reduce):
    """A convolution, whose output is scaled by what a reduction of all of it gives."""
    weight = numpy_helper.from_array(np.ones((CHANNELS, CHANNELS, 3, 3), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node(reduce, ["a"], ["b"], name="pool"),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, 16, 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return shape_inference.infer_shapes(model)


@pytest.mark.parametrize("reduce", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_operators_are_seen(reduce):
    with pytest.raises(NotLocal, match=rf"operator {reduce} \(pool\) may see the whole"):
        network_of(squeezed(reduce))


def test_a_graph_is_cut_before_what_sees_everything():
    model = squeezed("GlobalAveragePool")
    local, rest = split_local(model)
    assert [node.op_type for node in local.graph.node] == ["Conv"]
    image = np.random.default_rng(0).random((1, CHANNELS, 16, 16), np.float32)
    wanted = run(model.SerializeToString(), x=image)["y"]
    begun = run(local.SerializeToString(), x=image)
    assert np.array_equal(run(rest.SerializeToString(), **begun)["y"], wanted)
    with pytest.raises(ValueError, match="made of none of"):
        between(model, ["b"], ["y"])


def test_a_part_for_any_number_of_images_is_read_for_one(tmp_path):
    model = one_after_the_other([], (16, 16), shortcut=1)
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.shape.dim[0].dim_param = "images"
    del model.graph.value_info[:]
    path = tmp_path / "part.onnx"
    path.write_bytes(model.SerializeToString())
    network = network_of(read_part(path))
    assert network.sizes["x"] == network.sizes["y"] == (16, 16)


def test_what_the_range_of_the_pixels_decides_is_folded():
    constants = {"two": 2.0, "none": 0.0, "one": 1.0, "white": 255.0}
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"]),
        helper.make_node("Greater", ["most", "two"], ["bytes"]),
        helper.make_node("Where", ["bytes", "white", "one"], ["scale"]),
        helper.make_node("Div", ["x", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "none", "one"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4]) for name in "xy"]
    tensors = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "graph", values[:1], values[1:], tensors))
    within_range(model.graph, 0.0, 1.0)
    model = between(model, ["x"], ["y"])
    assert {node.op_type for node in model.graph.node} == {"Identity"}
    unknown = helper.make_model(helper.make_graph(nodes, "graph", values[:1], values[1:], tensors))
    within_range(unknown.graph, 0.0, 255.0)
    assert "ReduceMax" in {node.op_type for node in between(unknown, ["x"], ["y"]).graph.node}
