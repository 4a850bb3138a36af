"""Hooks: ways solved in closed form, their ladder, what learns when a rung is good enough, and the model with them."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from nestevo_hw.base.errors import InputError, MissingFileError
from nestevo_hw.models.elastic.parts import tap_name
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.onnx.crops.narrowing import inner_of, narrowed, scaled, tapped
from nestevo_hw.terminals.dynamic.bench import ARMS, HOOKED, compare
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.hooks.calibrating import fit_hooks
from nestevo_hw.terminals.dynamic.hooks.config import HookSettings
from nestevo_hw.terminals.dynamic.hooks.forward import ForwardForward
from nestevo_hw.terminals.dynamic.hooks.hook import Hook
from nestevo_hw.terminals.dynamic.hooks.ladder import Step, climbed
from nestevo_hw.terminals.dynamic.hooks.learners import Try, made
from nestevo_hw.terminals.dynamic.hooks.solving import narrow_of, ranked, skip_of
from nestevo_hw.terminals.dynamic.hooks.ways import SKIP, Narrow, Skip, load, save
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.overlay import overlay
from nestevo_hw.terminals.dynamic.plan import Reason
from nestevo_hw.terminals.dynamic.preparing import Preparation, prepare
from nestevo_hw.terminals.dynamic.profile import Profile, StageProfile
from tests.terminals.dynamic.made_hooks import hooks_of, same
from tests.terminals.dynamic.made_parts import BLOCK, CHANNELS, SIZE, made_parts

EXACT = DynamicSettings(threshold=0.0, dense_above=1.0, key_every=1000, light=255.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    parts = made_parts(folder)
    return prepare(folder, parts, parts.space.base)


def scene(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def taken(seed):
    return np.random.default_rng(seed).standard_normal((1, CHANNELS, 12, 16)).astype(np.float32)


def file_of(prepared, stage=BLOCK):
    return next(one.model for one in prepared.stages if one.name == stage)


def ran(file, x, names=None):
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(names, {"taken": x})


def test_a_skip_is_the_scale_and_shift_of_each_channel(prepared):
    draw = np.random.default_rng(1)
    scale, shift = draw.standard_normal((2, CHANNELS, 1, 1))
    pairs = [(x, (x * scale + shift).astype(np.float32)) for x in map(taken, range(3))]
    found = skip_of(pairs)
    assert found.scale == pytest.approx(scale.ravel(), abs=1e-5)
    assert found.shift == pytest.approx(shift.ravel(), abs=1e-5)
    shifted = ran(scaled(file_of(prepared), found.scale, found.shift, found.floor), pairs[0][0])[0]
    assert np.abs(shifted - pairs[0][1]).max() < 1e-5


def test_inner_channels_are_found_and_made_fewer(prepared):
    file, x = file_of(prepared), taken(0)
    inner = inner_of(file)
    assert (inner.width, inner.weights.shape) == (CHANNELS, (CHANNELS, CHANNELS, 3, 3))
    order = list(np.random.default_rng(0).permutation(CHANNELS))
    whole = narrowed(file, inner, order, inner.weights[:, order], inner.bias)
    assert ran(whole, x)[0] == pytest.approx(ran(file, x)[0], abs=1e-5)
    # A channel whose outgoing weights are nothing is no loss.
    silent = inner.weights.copy()
    silent[:, 2] = 0
    without = [0, 1, 3, 4, 5]
    four = narrowed(file, inner, without, silent[:, without], inner.bias)
    all_of = narrowed(file, inner, range(CHANNELS), silent, inner.bias)
    assert ran(four, x)[0] == pytest.approx(ran(all_of, x)[0], abs=1e-5)
    assert inner_of(file_of(prepared, "stem")) is None


def test_narrow_weights_are_those_of_least_squares(prepared, monkeypatch):
    monkeypatch.setattr("nestevo_hw.terminals.dynamic.hooks.solving.MULTIPLE", 2)
    monkeypatch.setattr("nestevo_hw.terminals.dynamic.hooks.solving.RIDGE", 0.0)
    file = file_of(prepared)
    inner = inner_of(file)
    pairs = [ran(tapped(file, inner), taken(k), [inner.taken, inner.made]) for k in range(6)]
    order = ranked(inner, [one for one, _ in pairs])
    found = narrow_of(inner, order, pairs, np.random.default_rng(0))
    assert list(found) == ["4/6", "2/6"]
    kept = found["4/6"].kept

    def loss(weights, bias):
        wrong = 0.0
        for (x, _), k in zip(pairs, range(6), strict=True):
            made = ran(narrowed_tap(weights, bias), taken(k))[0]
            wrong += float(np.square(made - pairs[k][1]).sum())
            assert x.shape[1] == CHANNELS
        return wrong

    def narrowed_tap(weights, bias):
        return tapped(narrowed(file, inner, kept, weights, bias), replace(inner, taken=inner.made))

    best = loss(found["4/6"].weights, found["4/6"].bias)
    assert best < loss(inner.weights[:, kept], inner.bias)
    draw = np.random.default_rng(3)
    for _ in range(3):
        change = 1e-2 * draw.standard_normal(found["4/6"].weights.shape).astype(np.float32)
        assert best < loss(found["4/6"].weights + change, found["4/6"].bias)


def test_the_ladder_takes_first_what_saves_most_for_its_loss():
    steps = [
        Step("a", "half", 2.0, 0.01), Step("a", "skip", 3.0, 0.5), Step("b", "half", 1.0, 0.0), Step("c", "x", -1, 0),
    ]  # fmt: skip
    losses = {("a", "half"): 0.01, ("a", "skip"): 0.5, ("b", "half"): 0.0}
    found = climbed(steps, lambda tried: [1 - sum(losses[step] for step in one.items()) for one in tried])
    assert found == ({"b": "half"}, {"b": "half", "a": "half"})
    assert climbed([Step("a", "half", -1.0, 0.0)], lambda tried: [1.0 for _ in tried]) == ()


def tries(count, *, seed=0, rungs=3, width=6):
    """What a frame's first number says decides how far down it may go."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        seen, rung = np.clip(draw.standard_normal(width), -4, 4) * 1.5, int(draw.integers(rungs))
        yield Try(seen, rung, bool(rung == 0 or seen[0] > 0))


@pytest.mark.parametrize(("name", "least"), [("logistic", 0.85), ("forward", 0.75), ("symba", 0.75)])
def test_learners_find_what_tells_frames_apart(name, least):
    """Two thirds of the tries agree."""
    learner = made(name, 3, 6, tries(300))
    right = [(learner.sure(one.seen)[one.rung] > 0.5) == one.agreed for one in tries(200, seed=1)]
    assert np.mean(right) > least


def test_a_threshold_tells_usual_frames_from_others():
    draw = np.random.default_rng(0)
    shown = [draw.standard_normal(6) * size for size in draw.choice([0.5, 3.0], 60)]
    learner = made("threshold", 2, 6, (Try(one, 1, bool(np.abs(one).max() < 2)) for one in shown))
    assert learner.sure(np.full(6, 0.4))[1] > 0.8
    assert learner.sure(np.full(6, 2.9))[1] < 0.3


def test_the_share_of_the_latest_tries_falls_and_comes_back():
    learner = made("constant", 2, 6, [Try(np.zeros(6), 1, True)] * 20)
    assert (learner.sure(np.zeros(6)) > 0.9).all()
    for _ in range(2):
        learner.learn(Try(np.zeros(6), 1, False))
    assert learner.sure(np.zeros(6))[0] > 0.9
    assert learner.sure(np.zeros(6))[1] < 0.8
    for _ in range(6):
        learner.learn(Try(np.zeros(6), 1, True))
    assert learner.sure(np.zeros(6))[1] > 0.8


@pytest.mark.parametrize("symmetric", [False, True])
def test_forward_forward_steps_go_down_their_losses(symmetric):
    learner = ForwardForward(2, 5, symmetric=symmetric)
    draw = np.random.default_rng(0)
    layer, right, wrong = draw.standard_normal((4, 8)), draw.standard_normal(8), draw.standard_normal(8)

    def loss(weights):
        good, bad = (float(np.mean(np.maximum(weights @ x, 0) ** 2)) for x in (right, wrong))
        if symmetric:
            return np.log1p(np.exp(-4.0 * (good - bad)))
        return np.log1p(np.exp(1.0 - good)) + np.log1p(np.exp(bad - 1.0))

    after = [layer.copy()]
    learner._step(after, right, wrong)
    moved = after[0] - (1 - 0.0005) * layer
    numeric = np.zeros_like(layer)
    for at in np.ndindex(layer.shape):
        more, less = layer.copy(), layer.copy()
        more[at] += 1e-5
        less[at] -= 1e-5
        numeric[at] = (loss(more) - loss(less)) / 2e-5
    # Four units: the update leaves out the 1 / 4 of their mean.
    assert moved == pytest.approx(-0.05 * 4 * numeric, abs=1e-5)


@pytest.fixture
def paying(monkeypatch):
    """Everything that saves is worth it: these models are too small for it."""
    monkeypatch.setattr(StageProfile, "worth", lambda *_: True)
    monkeypatch.setattr(StageProfile, "saved_s", lambda *_: 1.0)
    monkeypatch.setattr(Profile, "pays", lambda *_, **__: True)


def test_a_hooked_model_takes_a_way_where_it_is_sure(paying, prepared):
    model = DynamicModel(prepared, EXACT)
    model.use_hooks(hooks_of(prepared, **{SKIP: same()}))
    model.look(scene())
    assert {one.plan.way for one in model.last.stages} == {""}
    frame = scene()
    frame[20:40, 30:60] = 0
    model.look(frame)
    assert [one.plan.did for one in model.last.stages][:2] == ["region", "region rung 1"]
    assert model.profile.stages[BLOCK].actions["region rung 1"] == 1
    assert (model.last.rung, model.profile.summary.rungs) == (1, {"rung 1": 1})
    stem, block = (next(iter(one.gives.values())) for one in prepared.stages[:2])
    rows, columns = slice(12, 18), slice(18, 28)
    skipped = model.chain.values[block][..., rows, columns]
    assert np.array_equal(skipped, model.chain.values[stem][..., rows, columns])


def test_without_a_saving_the_hook_does_not_look(prepared, monkeypatch):
    monkeypatch.setattr(StageProfile, "saved_s", lambda *_: -1.0)
    profile = Profile(stage.name for stage in prepared.stages)
    hooks = hooks_of(prepared, **{SKIP: same()})
    hook = Hook(hooks, [{BLOCK: "rung 1"}], HookSettings(), profile, 0.05, lambda: 0.0)
    assert [hook.decide(taken(0)) for _ in range(3)] == [0] * 3
    assert hook.cost.value is None
    assert hook.allowed(np.zeros(CHANNELS)) == 1


def test_a_moving_camera_is_run_as_the_hook_says_where_that_takes_less(paying, prepared, monkeypatch):
    model = DynamicModel(prepared, replace(EXACT, moving_frames=0))
    model.use_hooks(hooks_of(prepared, **{SKIP: same()}))
    monkeypatch.setattr(model.profile, "pays", lambda *_args, **_more: False)
    monkeypatch.setattr(model.profile, "hooks_pay", lambda _: True)
    model.look(scene())
    model.look(scene(1))
    assert (model.last.reason, model.last.rung, model.last.stages) == (Reason.MOVING, 1, ())
    monkeypatch.setattr(model.profile, "hooks_pay", lambda _: False)
    model.look(scene(2))
    assert (model.last.reason, model.last.rung) == (Reason.MOVING, 0)


def test_what_a_hook_learns_is_tried_beside_the_frames(paying, prepared):
    settings = replace(EXACT, hooks=HookSettings(learn_every=2, most_learning=1.0))
    model = DynamicModel(prepared, settings)
    poor = Skip(*(np.full(CHANNELS, value, np.float32) for value in (0.0, 9.0, 0.0)))
    learning = model.use_hooks(hooks_of(prepared, **{SKIP: poor}))
    learning._frames_s = 1000.0
    before = learning.hook.learner.sure(np.zeros(CHANNELS))[0]
    for seed in range(8):
        model.look(scene(seed))
        learning.work()
    assert learning.tries == 4
    assert learning.agreement.value < 0.95
    assert learning.hook.learner.sure(np.zeros(CHANNELS))[0] < 0.8 < before
    assert model.last.stages[1].plan.did == "region"  # no longer in the cheaper way
    with learning.background():
        for seed in range(3):
            model.look(scene(seed))
    assert learning.tries >= 4
    learning._settings = replace(settings.hooks, most_learning=0.0)
    tried = learning.tries
    for seed in range(8):
        model.look(scene(seed))
    assert not learning.work() or learning.tries == tried + 1


def test_a_model_with_hooks_that_are_never_sure_stays_exact(paying, prepared):
    hooked = DynamicModel(prepared, EXACT)
    hooked.use_hooks(replace(hooks_of(prepared, **{SKIP: same()}), agreed=np.zeros((40, 1))))
    dense, frame = DynamicModel(prepared, EXACT), scene()
    for k in range(6):
        frame = frame.copy()
        frame[8 * k : 8 * k + 20, 10:30] = scene(k + 1)[:20, :20]
        hooked.look(frame)
        dense.chain.dense(frame)
        for name, value in dense.chain.values.items():
            assert np.abs(value - hooked.chain.values[name]).max() <= 1e-5


def test_hooks_are_fitted_on_frames_and_read_again(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("nestevo_hw.terminals.dynamic.hooks.solving.MULTIPLE", 2)
    shown = [scene(seed) for seed in range(40)]
    found = fit_hooks(DynamicModel(prepared, EXACT), shown)
    if found is None:  # on a machine where no way of so small a model saves time
        found = hooks_of(prepared, **{SKIP: same(), "2/6": Narrow(np.arange(2), *weights(2))})
    save(found, tmp_path / "hooks.safetensors")
    read = load(tmp_path / "hooks.safetensors", prepared.parts, prepared.path)
    assert (read.rungs, read.after) == (found.rungs, found.after)
    assert np.array_equal(read.agreed, found.agreed)
    results = compare(prepared, shown[:16], EXACT, hooks=read)
    assert [row.arm for row in results] == [*ARMS, HOOKED]
    with pytest.raises(InputError, match="need 40 frames"):
        fit_hooks(DynamicModel(prepared), shown[:8])


def weights(kept):
    return np.zeros((CHANNELS, kept, 3, 3), np.float32), np.zeros(CHANNELS, np.float32)


def test_hooks_of_something_else_are_refused(prepared, tmp_path):
    path = tmp_path / "hooks.safetensors"
    save(replace(hooks_of(prepared, **{SKIP: same()}), model="another"), path)
    with pytest.raises(InputError, match="of another model or path"):
        load(path, prepared.parts, prepared.path)
    right = hooks_of(prepared, **{SKIP: same()})
    nowhere = right.looked.copy()
    nowhere[0, 0] = np.nan
    nested = ({BLOCK: SKIP}, {"block 1": SKIP})
    for wrong in (
        replace(right, agreed=np.ones((3, 2))), replace(right, looked=nowhere), replace(right, rungs=({},)),
        replace(right, rungs=nested, ways={one: {SKIP: same()} for one in (BLOCK, "block 1")}, agreed=np.ones((40, 2))),
    ):  # fmt: skip
        save(wrong, path)
        with pytest.raises(InputError, match="do not fit together"):
            load(path, prepared.parts, prepared.path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="holds no hooks"):
        load(path, prepared.parts, prepared.path)
    with pytest.raises(MissingFileError, match=r"no file .*none; check the path"):
        load(tmp_path / "none", prepared.parts, prepared.path)


def poor(seed=0):
    """A way that changes what the block gives."""
    scale = np.random.default_rng(seed).uniform(0.5, 2, CHANNELS).astype(np.float32)
    return Skip(scale, scale - 1, np.zeros(CHANNELS, np.float32))


def test_a_rung_gives_the_same_by_blocks_joined_and_as_a_whole(tmp_path):
    parts = made_parts(tmp_path)
    path = parts.space.base
    seen = {}
    for join in (False, True):
        prepared = prepare(tmp_path, parts, path, join=join)
        model = DynamicModel(prepared, EXACT)
        hooks = hooks_of(prepared, once=Skip(*(np.ones(CHANNELS, np.float32),) * 3), **{SKIP: poor()})
        halves = model.use_hooks(hooks).halves
        stage = next(stage for stage in model.chain.stages if BLOCK in {one.name for one in stage.model.blocks})
        model.chain.dense(scene())
        image = model.chain.values["image"]
        (last,) = model.chain.stages[-2].model.gives.values()
        for rung, ways in enumerate([{}, *model.chain.hook.rungs]):
            values = {**model.chain.values}
            for one in model.chain.stages[1:]:
                values |= one.dense(values, ways.get(one.name, ""))
            whole = halves.second(halves.first(image), rung)
            assert whole.scores == pytest.approx(values["scores"], abs=1e-6)
            seen.setdefault(rung, []).append(values[last])
        assert (stage.name == BLOCK) is not join
    for by_blocks, joined in seen.values():
        assert joined == pytest.approx(by_blocks, abs=1e-5)
    assert np.abs(seen[0][0] - seen[2][0]).max() > 0.01


def test_blocks_are_not_joined_over_what_a_hook_looks_at(tmp_path):
    parts = made_parts(tmp_path)
    names = [[stage.name for stage in prepare(tmp_path, parts, parts.space.base, join=True, cut=cut).stages]
             for cut in ("", tap_name(0))]  # fmt: skip
    assert [[name for name in found if "block" in name] for found in names] == [["blocks 0+1"], ["block 0", "block 1"]]


def test_hooks_need_a_stage_that_gives_what_they_look_at(tmp_path):
    parts = made_parts(tmp_path)
    prepared = prepare(tmp_path, parts, parts.space.base)
    hooks = replace(hooks_of(prepared, **{SKIP: same()}), after="nothing")
    with pytest.raises(InputError, match="gives 'nothing'; fit the hooks again"):
        DynamicModel(prepared, EXACT).use_hooks(hooks)
    joined = prepare(tmp_path, parts, parts.space.base, join=True)
    with pytest.raises(InputError, match="gives 'block0'"):  # which is inside of a joined stage
        DynamicModel(joined, EXACT).use_hooks(replace(hooks, after=tap_name(0)))
    other = replace(hooks_of(prepared, **{SKIP: same()}), looked=np.zeros((40, 7)))
    with pytest.raises(InputError, match="'start' has 6 channels, these hooks know 7; fit the hooks again"):
        DynamicModel(prepared, EXACT).use_hooks(other)
    wide, narrow = (Narrow(np.array(kept), *weights(2)) for kept in ([0, 99], [0, 1, 2]))
    for way in (wide, narrow):
        with pytest.raises(InputError, match=f"the way 2/6 of {BLOCK} does not fit it; fit the hooks again"):
            DynamicModel(prepared, EXACT).use_hooks(hooks_of(prepared, **{"2/6": way}))


def test_what_two_paths_share_is_prepared_once(tmp_path):
    parts = made_parts(tmp_path)
    preparation = Preparation(tmp_path, parts)
    first = preparation.path(parts.space.base)
    again = preparation.path((Branch(0), Branch(1)))
    assert all(a is b for a, b in zip(first.stages, again.stages, strict=True))
    assert again.fused == first.fused


def test_a_cheaper_way_shows_in_the_overlay(paying, prepared):
    model = DynamicModel(prepared, EXACT)
    model.use_hooks(hooks_of(prepared, **{SKIP: same()}))
    changed, draws = scene(), []
    changed[20:40, 30:60] = 0
    for frame in (scene(), changed):
        found = model.look(frame)
        draws.append(overlay(frame, model.last, found, least_score=2.0)[-1].tolist())
    assert [90, 230, 120] not in draws[0]
    field = SIZE[1] // len(prepared.stages)
    assert draws[1][field + 2] == [90, 230, 120]
    assert draws[1][2] == [255, 96, 64]
