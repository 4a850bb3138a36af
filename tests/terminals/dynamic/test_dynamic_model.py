"""A dynamic model gives what the dense one does, and runs no more than a frame asks for."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.parts import STEM
from nestevo_hw.terminals.dynamic.bench import ARMS, compare
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.exits import Exit, fit, load, pooled, save
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.plan import Action, Reason
from nestevo_hw.terminals.dynamic.preparing import prepare
from nestevo_hw.terminals.dynamic.profile import Profile, StageProfile
from nestevo_hw.terminals.dynamic.running import fit_exits
from tests.terminals.dynamic.made_parts import SIZE, made_parts

EXACT = DynamicSettings(threshold=0.0, dense_above=1.0, key_every=1000, light=255.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return _prepared(tmp_path_factory.mktemp("parts"), "detection")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return _prepared(tmp_path_factory.mktemp("classifier"), "classification")


def _prepared(folder, kind):
    parts = made_parts(folder, kind)
    return prepare(folder, parts, parts.space.base)


def scene(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def frames(count, *, seed=0):
    """Each differs from the one before in one or two rectangles, at borders and corners too."""
    draw = np.random.default_rng(seed)
    frame = scene(seed)
    for _ in range(count):
        frame = frame.copy()
        for _ in range(draw.integers(1, 3)):
            top, left = (int(draw.integers(-8, side)) for side in SIZE)
            part = frame[max(0, top) : top + 20, max(0, left) : left + 24]
            part[:] = draw.integers(0, 256, part.shape, np.uint8)
        yield frame


@pytest.fixture
def paying(monkeypatch):
    """Models that save whatever it costs: these are too small for it to pay."""
    monkeypatch.setattr(StageProfile, "worth", lambda *_: True)
    monkeypatch.setattr(Profile, "pays", lambda *_, **__: True)
    return lambda prepared, settings=EXACT: DynamicModel(prepared, settings)


@pytest.mark.parametrize("kind", ["prepared", "classifier"])
def test_what_is_kept_is_what_the_dense_model_has(kind, paying, request):
    given = request.getfixturevalue(kind)
    model, dense = paying(given), DynamicModel(given, EXACT)
    actions = set()
    for frame in frames(30):
        found = model.look(frame)
        wanted = dense._whole(frame)
        dense.chain.dense(frame)
        for name, value in dense.chain.values.items():
            assert np.abs(value - model.chain.values[name]).max() <= 1e-5, name
        assert np.allclose(found.boxes, wanted.boxes, atol=1e-4)
        assert np.allclose(found.scores, wanted.scores, atol=1e-5)
        actions |= {stage.plan.action for stage in model.last.stages}
    assert Action.REGION in actions
    assert model.profile.reasons[Reason.CHANGED] == 29


def test_a_frame_like_the_last_one_costs_a_look(prepared):
    model = DynamicModel(prepared, EXACT)
    frame = scene()
    first = model.look(frame)
    assert model.look(frame.copy()) is first
    assert model.last.reason is Reason.STILL
    assert model.last.stages == ()


def test_small_changes_add_up_until_they_show(paying, prepared):
    model = paying(prepared, replace(EXACT, threshold=10.0))
    frame = scene() // 2
    model.look(frame)
    reasons = []
    for _ in range(4):
        frame = frame.copy()
        frame[:20, :20] += 4
        model.look(frame)
        reasons.append(model.last.reason)
    assert reasons == [Reason.STILL, Reason.STILL, Reason.CHANGED, Reason.STILL]
    assert np.array_equal(model.watch.reference[:20, :20], scene()[:20, :20] // 2 + 12)


def test_key_frames_come_in_time_and_say_how_well_saving_agrees(prepared):
    model = DynamicModel(prepared, replace(EXACT, key_every=4))
    reasons = []
    for _ in range(9):
        model.look(scene())
        reasons.append(model.last.reason)
    assert [index for index, reason in enumerate(reasons) if reason is Reason.KEY] == [4, 8]
    assert model.last.agreement == 1.0
    assert {stage.plan.action for stage in model.last.stages} == {Action.DENSE}


def test_another_light_is_another_image(prepared):
    model = DynamicModel(prepared, replace(EXACT, threshold=20.0, light=6.0))
    model.look(scene() // 2)
    model.look(scene() // 2 + 10)
    assert model.last.reason is Reason.LIGHT


def test_while_saving_does_not_pay_one_session_runs_everything(prepared, monkeypatch):
    model = DynamicModel(prepared, replace(EXACT, look_every=2))
    monkeypatch.setattr(model.profile, "pays", lambda *_args, **_more: False)
    reasons, dense = [], DynamicModel(prepared, EXACT)
    moving = list(frames(6, seed=2))
    for frame in [*moving, *[moving[-1]] * 4]:
        found = model.look(frame)
        assert np.allclose(found.scores, dense._whole(frame).scores, atol=1e-6)
        reasons.append(model.last.reason)
    assert reasons[:3] == [Reason.FIRST, Reason.MUCH, Reason.MOVING]
    assert Reason.CALM in reasons[6:8]
    assert reasons[-1] is Reason.STILL


def test_the_noise_of_the_first_frames_is_no_change(prepared):
    draw = np.random.default_rng(3)
    model = DynamicModel(prepared, DynamicSettings(calibration_frames=3, light=255.0))
    for _ in range(12):
        noise = draw.integers(-3, 4, (*SIZE, 3))
        model.look((scene() // 2 + 60 + noise).astype(np.uint8))
    assert model.profile.reasons == {Reason.FIRST: 4, Reason.STILL: 8}


def test_approximate_mode_drops_small_changes_of_features(paying, prepared):
    settings = replace(EXACT, mode="approximate", tolerance=0.5)
    model = paying(prepared, settings)
    frame = scene() // 2
    model.look(frame)
    kept = {name: value.copy() for name, value in model.chain.values.items()}
    frame = frame.copy()
    frame[40:50, 40:50] += 1
    model.look(frame)
    assert [stage.plan.action for stage in model.last.stages][:2] == [Action.REGION, Action.REUSE]
    assert all(np.array_equal(kept[name], value) for name, value in model.chain.values.items() if name != "image")


def test_arms_are_compared_on_the_same_frames(prepared):
    found = compare(prepared, frames(16), replace(EXACT, threshold=None))
    assert tuple(row.arm for row in found) == ARMS
    assert all(row.agreement == pytest.approx(1.0) for row in found[:3])
    assert sum(found[2].reasons.values()) == 16
    with pytest.raises(InputError, match="no frames"):
        compare(prepared, [], EXACT)


def test_early_exits_answer_as_the_model_does(classifier, paying, tmp_path):
    draw = np.random.default_rng(5)
    shown = [(scene(k) * draw.uniform(0.2, 1.0, 3)).astype(np.uint8) for k in range(60)]
    model = paying(classifier)
    heads = fit_exits(model, shown, least_agreement=0.8)
    assert "stem" in heads
    save(heads, tmp_path / "exits.safetensors")
    read = load(tmp_path / "exits.safetensors")
    assert read.keys() == heads.keys()
    model.use_exits({"stem": Exit(read["stem"].weights, np.inf)})
    model.look(shown[0])
    model.look(shown[1])
    assert [stage.plan.action for stage in model.last.stages] == [Action.REGION, *[Action.SKIP] * 3]
    # What the stages behind have not seen, they see when they are needed.
    model.chain.exits = {}
    after = shown[1].copy()
    after[:16, :16] = 0
    found, dense = model.look(after), DynamicModel(classifier, EXACT)
    assert model.last.reason is Reason.CHANGED
    assert found.scores == pytest.approx(dense.look(after).scores, abs=1e-5)


def test_a_head_on_the_last_features_is_the_classifier_itself():
    draw = np.random.default_rng(0)
    features = [pooled(draw.random((1, 8, 4, 4), np.float32)) for _ in range(80)]
    wanted = draw.standard_normal((9, 5))
    heads = fit({"last": features}, (np.concatenate(features) @ wanted).astype(np.float32), least_agreement=0.9)
    assert np.abs(heads["last"].weights[:-1] - wanted[:-1]).max() < 0.5
    useless = fit({"none": [np.ones((1, 2))] * 80}, draw.standard_normal((80, 5)).astype(np.float32))
    assert useless == {}
    with pytest.raises(InputError, match="need 20 frames"):
        fit({"last": features[:4]}, np.zeros((4, 5), np.float32))


def test_exits_of_something_else_are_refused(prepared, classifier, tmp_path):
    with pytest.raises(InputError, match="early exits are for classifiers"):
        DynamicModel(prepared).use_exits({})
    with pytest.raises(InputError, match="which this model has not"):
        DynamicModel(classifier).use_exits({"block 7": Exit(np.zeros((7, 3)), 1.0)})
    with pytest.raises(InputError, match="of other features"):
        DynamicModel(classifier).use_exits({"block 0": Exit(np.zeros((5, 3)), 1.0)})
    (tmp_path / "bad").write_bytes(b"no exits")
    with pytest.raises(InputError, match="holds no early exits"):
        load(tmp_path / "bad")
    save_file({"other": np.zeros(1)}, tmp_path / "bad")
    with pytest.raises(InputError, match="holds no early exits"):
        load(tmp_path / "bad")
    save({}, tmp_path / "none")
    assert load(tmp_path / "none") == {}


def test_frames_of_another_size_are_refused(prepared):
    with pytest.raises(InputError, match="takes frames of 128 x 96 pixels"):
        DynamicModel(prepared).look(np.zeros((64, 64, 3), np.uint8))


def test_a_damaged_part_is_refused(tmp_path):
    made_parts(tmp_path)
    (tmp_path / STEM).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"is not the file that elastic\.json describes"):
        DynamicModel.open(tmp_path)
