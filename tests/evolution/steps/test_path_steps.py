"""Steps of elastic terminals on their own, for real: a supernet of the shipped classifier, and a handful of digits."""

from dataclasses import replace

import pytest
import torch

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.elastic.choosing import Frames
from nestevo_hw.evolution.steps import paths
from nestevo_hw.evolution.steps.step import Context
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.models.checkpoint import load_model, pretrained_path, read_spec
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.elastic.store import load_supernet, save_path, save_supernet
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.streams.storage import save_frames
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.supervision import save_supervision

BASE, TASK = pretrained_path("digits-mobilenet"), task_named("classification")
BLOCKS = tuple(Branch(k) for k in range(10))
NARROW = (*BLOCKS[:9], Branch(9, 1, 0.5))


def context(kind, folder, **changes):
    changes = {"elastic.supernet": str(folder), "elastic.latency": "macs", "elastic.evaluations": 8, **changes}
    config = override(load_preset("digits"), {"elastic.frames": 12, "elastic.strategy": "random", **changes})
    return Context(id=TaskId(0, kind, "counter"), config=config)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    frames = DigitStream(name="a", place="campus", seed=0, role="training").read(range(0, 480, 20))
    model, spec = load_model(BASE)
    supernet = expand(model, frames.images.float() / 255, spans=(2,), rates=(0.5,))
    save_supernet(supernet, spec, folder / "supernet.safetensors")
    save_frames(frames, folder / "frames")
    save_supervision(TASK.label(load_model(BASE)[0], frames.images, load_preset("digits").labels), folder / "labels")
    return folder


@pytest.fixture(scope="module")
def timed(home):
    request = paths.TimePathsRequest(supernet=home / "supernet.safetensors", models={"counter": BASE})
    return paths.time_paths(context("time-paths", home), request)


def test_times_come_with_the_shares_of_models(home, timed):
    assert timed.shares == {"counter": 1.0}
    assert timed.space == load_supernet(home / "supernet.safetensors")[0].space
    timed.latency.require(timed.space, "test")


def test_a_search_measures_nothing_twice_and_writes_a_path_within_each_budget(home, timed, tmp_path, monkeypatch):
    whole_s = timed.latency.time(timed.space.base)
    request = paths.SearchPathsRequest(
        supernet=home / "supernet.safetensors", sha256=timed.sha256, latency=timed.latency,
        budgets_s={"a": 0.9 * whole_s, "b": 0.7 * whole_s}, reference=home / "frames",
        journal=tmp_path / "measured.jsonl", models={"a": tmp_path / "a", "b": tmp_path / "b"},
    )  # fmt: skip
    found = paths.search_for_paths(context("search-paths", home), request)
    for name, budget_s in request.budgets_s.items():
        fitting = [one for one in found.pool if one.seconds <= budget_s]
        best = max(fitting, key=lambda one: (one.accuracy, one.seconds))
        assert found.paths[name] == best.path == paths.path_of(read_spec(request.models[name]))
        assert timed.latency.time(best.path) == pytest.approx(best.seconds)
    assert timed.space.base in {one.path for one in found.pool}
    monkeypatch.setattr(Frames, "score", lambda *_: pytest.fail("it is known"))
    assert paths.search_for_paths(context("search-paths", home), request) == found


def request_for(home, live, folder, **told):
    return paths.ChoosePathRequest(
        supernet=home / "supernet.safetensors", live=live, paths=(BLOCKS, NARROW), upload=home / "frames",
        supervision=home / "labels", chosen_out=folder / "chosen", **told,
    )  # fmt: skip


def test_a_path_whose_own_branch_has_come_to_harm_is_left_with_all_that_it_shares(home, tmp_path):
    supernet, spec = load_supernet(home / "supernet.safetensors")
    with torch.no_grad():
        supernet.block(NARROW[-1]).conv[-1].weight.mul_(-8)
        supernet.base.head.bias.add_(0.01)
    save_path(supernet, spec, NARROW, tmp_path / "live")
    found = paths.choose(context("choose-path", home), request_for(home, tmp_path / "live", tmp_path, trained=False))
    assert (found.live, found.chosen, found.paths) == (NARROW, BLOCKS, (NARROW, BLOCKS))
    assert found.scores[1] > found.scores[0] + 0.02
    assert found.frames == 12
    chosen, live = (load_model(tmp_path / name)[0].state_dict() for name in ("chosen", "live"))
    assert paths.path_of(read_spec(tmp_path / "chosen")) == BLOCKS
    assert torch.equal(chosen["head.bias"], live["head.bias"])
    # Of what frames have passed through, every statistic is that of the scene.
    assert not torch.equal(chosen["body.0.1.running_mean"], live["body.0.1.running_mean"])


def test_after_a_training_the_supernet_has_what_was_learned_and_only_held_back_frames_count(home, tmp_path):
    supernet, spec = load_supernet(home / "supernet.safetensors")
    with torch.no_grad():
        supernet.block(NARROW[-1]).conv[-1].weight.mul_(1.01)
    save_path(supernet, spec, NARROW, tmp_path / "live")
    request = request_for(home, tmp_path / "live", tmp_path, trained=True, supernet_out=tmp_path / "supernet")
    asked = context("choose-path-again", home, **{"elastic.margin": 1.0})
    found = paths.choose(asked, request)
    assert found.chosen == NARROW
    assert found.frames == 24 - asked.config.deployment.taught(24) == 4
    assert not (tmp_path / "chosen").exists()
    learned, built = (load_supernet(folder / name)[0].state_dict() for folder, name in (
        (tmp_path, "supernet"), (home, "supernet.safetensors")))  # fmt: skip
    changed = {name for name, tensor in learned.items() if not torch.equal(tensor, built[name])}
    assert len(changed) == 1
    assert next(iter(changed)).startswith("branches.9@0_5.")
    again = paths.choose(asked, replace(request, supernet=tmp_path / "supernet", live=tmp_path / "live"))
    assert again.scores == found.scores
