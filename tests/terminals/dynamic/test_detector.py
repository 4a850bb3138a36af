"""The eight-block detector, as a terminal gets it, cut into stages."""

import numpy as np
import pytest
import torch

from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.models.elastic.chain import find_chain
from nestevo_hw.models.elastic.export import export_parts
from nestevo_hw.models.elastic.supernet import Supernet, as_inputs
from nestevo_hw.models.onnx.crops.names import LEAST, OBJECTNESS, REGIONS
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.preparing import prepare
from tests.models.elastic.nets import frames_for, net


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    model, image = net("detector"), frames_for("detector", 1)
    supernet = Supernet(model, find_chain(model, as_inputs(model, image)), {})
    spec = ModelSpec(architecture="fasterrcnn-resnet18-slim", classes=("a", "b", "c"), min_size=64, max_size=64)
    folder = tmp_path_factory.mktemp("detector")
    parts = export_parts(supernet, spec, folder, image[0])
    return model, prepare(folder, parts, parts.space.base), prepare(folder, parts, parts.space.base, join=True)


def test_stem_blocks_and_pyramid_take_crops_and_the_head_is_its_own(prepared):
    _, given, _ = prepared
    local = [stage.name for stage in given.stages if stage.network is not None]
    assert local == ["stem", *(f"block {k}" for k in range(8)), "pyramid"]
    assert [stage.name for stage in given.stages[-2:]] == ["proposals", "head"]
    assert given.most_regions == 60


@pytest.mark.parametrize("way", ["chained", "fused", "joined"])
def test_the_cut_detector_finds_what_torch_does(prepared, way):
    torch_model, given, joined = prepared
    given = joined if way == "joined" else given
    model = DynamicModel(given, DynamicSettings(threshold=0.0))
    draw = np.random.default_rng(0)
    for _ in range(3):
        frame = draw.integers(0, 256, (64, 64, 3), np.uint8)
        found = model._whole(frame) if way == "fused" else model.look(frame)
        with torch.no_grad():
            wanted = torch_model([torch.from_numpy(frame.transpose(2, 0, 1)).float() / 255])[0]
        assert len(found.scores) == len(wanted["scores"])
        assert np.allclose(np.sort(found.scores), np.sort(wanted["scores"].numpy()), atol=1e-4)


def test_blocks_between_two_that_the_pyramid_reads_are_one_stage(prepared):
    _, _, joined = prepared
    assert [stage.name for stage in joined.stages] == [
        "stem", "blocks 0+1+2+3", "blocks 4+5", "blocks 6+7", "pyramid", "proposals", "head"
    ]  # fmt: skip


def test_joined_blocks_update_crops_to_what_all_of_the_image_gives(prepared, monkeypatch):
    from nestevo_hw.terminals.dynamic.profile import Profile

    monkeypatch.setattr(Profile, "pays", lambda *_, **__: True)
    _, _, joined = prepared
    settings = DynamicSettings(threshold=0.0, light=255.0, dense_above=1.0)
    model, dense = DynamicModel(joined, settings), DynamicModel(joined, settings)
    frame = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    model.look(frame)
    frame = frame.copy()
    frame[:16, 48:] = 0
    model.look(frame)
    assert {done.plan.action for done in model.last.stages} >= {"region"}
    dense.chain.dense(frame)
    kept = [name for stage in joined.stages[:5] for name in stage.gives.values()]
    assert len(kept) > 5
    for name in kept:
        assert np.allclose(model.chain.values[name], dense.chain.values[name], atol=1e-5), name


def test_less_sure_regions_decide_nothing_about_surer_ones(prepared):
    _, given, _ = prepared
    model = DynamicModel(given)
    frame = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    model.chain.dense(frame)
    proposals = next(stage for stage in model.chain.stages if stage.model.kind == "proposals")

    def run(least):
        return proposals.dense({**model.chain.values, LEAST: np.array(least, np.float32)})

    every = run(0.0)
    middle = float(np.median(every[OBJECTNESS]))
    sure = run(middle)
    assert np.array_equal(sure[OBJECTNESS], every[OBJECTNESS][every[OBJECTNESS] >= middle])
    assert np.allclose(sure[REGIONS], every[REGIONS][: len(sure[REGIONS])], atol=1e-4)
    assert len(run(1.1)[REGIONS]) == 0


def test_without_a_region_the_head_is_skipped(prepared, monkeypatch):
    from nestevo_hw.terminals.dynamic.profile import Profile

    monkeypatch.setattr(Profile, "pays", lambda *_, **__: True)
    _, given, _ = prepared
    settings = DynamicSettings(mode="approximate", least_objectness=1.0, threshold=0.0, tolerance=0.0, light=255.0,
                               dense_above=1.0)  # fmt: skip
    model = DynamicModel(given, settings)
    frame = np.zeros((64, 64, 3), np.uint8)
    model.look(frame)
    frame = frame.copy()
    frame[:30] = 200
    found = model.look(frame)
    assert model.last.stages[-1].plan.action == "skip"
    assert len(found.boxes) == len(found.labels) == len(found.scores) == 0
