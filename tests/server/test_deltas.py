"""What is sent of a real model whose weights moved."""

from nestevo_hw.server.deltas import model_delta
from nestevo_hw.wire.delta import apply_delta


def test_a_model_whose_weights_moved_comes_out_as_it_is(models):
    old, new = ((models[name] / "model.onnx").read_bytes() for name in ("first", "next"))
    package = model_delta(old, new)
    assert apply_delta(old, package) == new
    assert len(package) < 0.9 * len(new)
    assert apply_delta(new, model_delta(new, old)) == old
    assert len(model_delta(new, new)) < 0.1 * len(new)
