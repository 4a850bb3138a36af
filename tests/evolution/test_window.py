"""The verbs of a window: what each requests, and what it makes of the answers."""

import json
from dataclasses import replace

import pytest

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.deployment import DeploymentConfig
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.gate import Verdict
from nestevo_hw.evolution.grouping import form_groups
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.camera import CaptureResult
from nestevo_hw.evolution.steps.deploying import ExportRequest, SelectRequest
from nestevo_hw.evolution.steps.labels import LabelRequest
from nestevo_hw.evolution.steps.teachers import MergeRequest
from nestevo_hw.evolution.steps.training import (
    ChooseRequest,
    DistilRequest,
    GenerateRequest,
    MutualRequest,
)
from nestevo_hw.evolution.window import Window
from nestevo_hw.profiler.target import CPU
from nestevo_hw.scheduler.task import TaskFailure
from nestevo_hw.testing.simulated import SimulatedExecutor, typical

NAMES = ["campus", "village", "downtown"]
CAPTURED = CaptureResult(upload_bytes=100, frames=96, fault=None, spacing_s=0.5)


class World:
    """A prepared server, and windows on it."""

    def __init__(self, folder, answers=typical, fails=lambda _: None, **changes):
        self.config = override(load_preset("quick"), changes)
        self.layout = RunLayout(folder)
        folder.mkdir(exist_ok=True)
        self.executor = SimulatedExecutor(answers=answers, fails=fails, remember=True)
        journal, costs = Journal(self.layout, self.executor, lambda _: None), TaskCosts(self.config, CPU)
        dispatch = Dispatch(self.config, journal, costs)
        groups = form_groups(self.config, self.layout, dispatch)
        self.server = Server(self.config, self.layout, journal, dispatch, costs, groups)
        self.server.prepare()
        self.executor.asked.clear()

    def window(self, number=0):
        return Window(self.server, number, dict.fromkeys(NAMES, CAPTURED))

    def kinds(self):
        return list(dict.fromkeys(asked.id.kind for asked in self.executor.asked))

    def events(self, kind):
        lines = self.layout.metrics.read_text().splitlines()
        return [e for e in map(json.loads, lines) if e["event"] == kind]


def changed(kind, subject=None, **fields):
    """Typical answers, but for one kind of task."""

    def answer(asked):
        result = typical(asked)
        hit = asked.id.kind == kind and subject in (None, asked.id.subject)
        return replace(result, **fields) if hit else result

    return answer


def test_labels_come_with_the_terminal_and_later_with_its_partner(tmp_path):
    world = World(tmp_path / "run")
    window = world.window()
    window.label()
    window.learn_mutually(window.groups, generated=False)
    window.relabel(["village"])
    first, again = world.executor.requests(LabelRequest)[1], world.executor.requests(LabelRequest)[-1]
    assert first.ensemble == (world.server.models["village"],)
    assert first.earlier is None
    assert again.ensemble == (window.file("village", "intermediate.safetensors"),)
    assert again.earlier == first.out
    assert len(world.executor.requests(LabelRequest)) == 4


def test_batch_norm_adaptation_is_remembered_wherever_it_comes(tmp_path):
    window = World(tmp_path / "run").window()
    window.label()
    window.adapt_batch_norm()
    assert [stage.step.kind for (stage,) in window.stages] == ["label", "adapt-batch-norm"]
    assert [window.adaptation] == window.stages[1]
    assert set(window.adapted_models) == set(NAMES)
    off = World(tmp_path / "off", **{"window.batch_norm_adaptation": False}).window()
    off.adapt_batch_norm()
    assert (off.stages, off.adaptation, off.adapted_models) == ([], None, {})


@pytest.mark.parametrize(("score", "epsilon", "mode"), [(20.0, None, "co-evolution"), (5.0, None, "terminals-only")])
def test_enough_drifted_terminals_make_the_teacher_evolve(score, epsilon, mode, tmp_path):
    world = World(tmp_path / "run", answers=changed("detect-drift", score=score, left_out=(2,)))
    window = world.window()
    groups = window.drifted_groups()
    assert groups == ([""] if mode == "co-evolution" else [])
    (decision,) = world.events("decision")
    assert (decision["mode"], decision["epsilon"]) == (mode, 2)
    assert {e["left_out"][0] for e in world.events("drift")} == {"b"}
    assert world.server.drift == dict.fromkeys(NAMES, score)


@pytest.mark.parametrize(("blind", "basis"), [(True, "blind"), (False, "nothing to compare")])
def test_what_cannot_be_compared_evolves_and_uploads_like_the_most_drifted(blind, basis, tmp_path):
    def answer(asked):
        result = typical(asked)
        if asked.id.kind != "detect-drift":
            return result
        scores = {"campus": None, "village": 12.0, "downtown": 30.0}
        return replace(result, score=scores[asked.id.subject], blind=blind and asked.id.subject == "campus")

    changes = {"sampling.budget_frames": 144, "sampling.least_frames": 10}
    world = World(tmp_path / "run", answers=answer, **changes)
    assert world.window().drifted_groups() == [""]
    campus = next(e for e in world.events("drift") if e["terminal"] == "campus")
    assert (campus["score"], campus["drifted"], campus["basis"]) == (None, True, basis)
    frames = world.server.frames_of(NAMES)
    assert abs(frames["campus"] - frames["downtown"]) <= 1  # of rounding
    assert frames["campus"] > frames["village"]


def test_who_has_not_drifted_at_all_uploads_least(tmp_path):
    world = World(tmp_path / "run", **{"sampling.budget_frames": 144, "sampling.least_frames": 10})
    world.server.drift = {"campus": 0.0, "village": 12.0, "downtown": 30.0}
    frames = world.server.frames_of(NAMES)
    assert frames["campus"] == 10 < frames["village"] < frames["downtown"]
    assert sum(frames.values()) == 144


def test_mutual_learning_hands_its_outcome_to_distillation(tmp_path):
    world = World(tmp_path / "run")
    window = world.window()
    window.label()
    window.generate(window.groups)
    window.learn_mutually(window.groups, generated=True)
    window.distil()
    (generate,) = world.executor.requests(GenerateRequest)
    mutual, distil = world.executor.requests(MutualRequest), world.executor.requests(DistilRequest)
    assert generate.counts == mutual[0].counts == ({1: 34, 2: 51, 3: 17},) * 3
    assert {m.generator for m in mutual} == {generate.generator}
    assert [d.terminal for d in distil] == [m.terminal_out for m in mutual]
    assert {d.steps for d in distil} == {world.config.distil.plan.steps}
    alone = world.window(1)
    alone.label()
    alone.distil(soft_share=0.0)
    longer = world.executor.requests(DistilRequest)[-1]
    assert longer.steps == world.config.distil.plan.steps + world.config.mutual.plan.steps
    assert longer.soft_share == 0.0


@pytest.mark.parametrize("accepted", [True, False])
def test_only_a_teacher_that_passes_the_gate_comes_into_force(accepted, tmp_path):
    verdict = Verdict(accepted=accepted, gate_before=0.8, gate_after=None, gate_first=0.9, reason="why")
    world = World(tmp_path / "run", answers=changed("merge", verdict=verdict))
    window, before = world.window(), world.server.upkeep[""].teacher
    window.label()
    window.learn_mutually(window.groups, generated=False)
    assert window.merge(window.groups) == (NAMES if accepted else [])
    assert (world.server.upkeep[""].teacher is not before) == accepted
    (event,) = world.events("deploy")
    scores = [event[key] for key in ("gate_before", "gate_after", "gate_first")]
    assert (event["accepted"], scores) == (accepted, [0.8, None, 0.9])


def test_a_new_teacher_is_compared_with_the_first_one_too(tmp_path):
    world = World(tmp_path / "run", answers=changed("prepare", score=0.77))
    for number in range(2):
        window = world.window(number)
        window.label()
        window.learn_mutually(window.groups, generated=False)
        window.merge(window.groups)
    assert [request.first_score for request in world.executor.requests(MergeRequest)] == [0.77, 0.77]


@pytest.mark.parametrize(("refreshed", "known"), [(False, 0.66), (True, 0.88)])
def test_what_a_window_has_measured_of_its_teacher_is_not_measured_again(refreshed, known, tmp_path):
    """Inspected, or programmed again after that; nothing of an earlier window counts, as the teacher has aged since."""

    def answer(asked):
        result = typical(asked)
        scores = {"inspect": 0.66, "program": 0.88}
        return replace(result, score=scores[asked.id.kind]) if asked.id.kind in scores else result

    policy = {"refresh.policy": "always" if refreshed else "never"}
    world = World(tmp_path / "run", answers=answer, **policy)
    for number in range(2):
        window = world.window(number)
        if number == 0:
            window.refresh()
        window.label()
        window.learn_mutually(window.groups, generated=False)
        window.merge(window.groups)
    assert [request.old_score for request in world.executor.requests(MergeRequest)] == [known, None]


def test_a_terminal_runs_what_does_best_on_held_back_frames(tmp_path):
    chosen = {"campus": "evolved", "village": "adapted", "downtown": "old"}

    def answer(asked):
        result = typical(asked)
        return replace(result, chosen=chosen[asked.id.subject]) if asked.id.kind == "select" else result

    world = World(tmp_path / "run", answers=answer)
    window, before = world.window(), dict(world.server.models)
    window.adapt_batch_norm()
    window.label()
    window.distil()
    window.deploy()
    assert window.names == NAMES
    assert world.server.models == {
        "campus": window.file("campus", "terminal.safetensors"),
        "village": window.file("village", "adapted.safetensors"),
        "downtown": before["downtown"],
    }
    exported = [request.terminal for request in world.executor.requests(ExportRequest)]
    assert exported == [world.server.models["campus"], world.server.models["village"]]
    assert {name: len(samples) for name, samples in world.server.replay.items()} == {
        "campus": 1, "village": 0, "downtown": 0
    }  # fmt: skip
    assert {e["terminal"]: e["chosen"] for e in world.events("select")} == chosen
    (request, *_) = world.executor.requests(SelectRequest)
    assert request.candidates.keys() == {"old", "evolved"}, "the old model stays where others are no better"
    assert request.supervision == window.file("campus", "label.safetensors")


def test_what_an_evolved_model_could_replace_is_compared_while_it_learns(tmp_path):
    """The adapted model of one, the old one of another, and of a third there is no adapted one."""

    def answer(asked):
        result = typical(asked)
        scores = {"campus": {"old": 0.4, "adapted": 0.6}, "village": {"old": 0.6, "adapted": 0.4}}
        return replace(result, scores=scores[asked.id.subject]) if asked.id.kind == "rank" else result

    def fails(asked):
        hit = (asked.id.kind, asked.id.subject) == ("adapt-batch-norm", "downtown")
        return TaskFailure(name=str(asked.id), reason="gone", attempts=2) if hit else None

    world = World(tmp_path / "run", answers=answer, fails=fails)
    window = world.window()
    window.adapt_batch_norm()
    window.names = list(NAMES)
    window.label()
    window.distil()
    together = {stage.step.kind: set(stage.done) for stage in window.stages[-1]}
    assert together == {"distil": set(NAMES), "rank": {"campus", "village"}}
    window.deploy()
    rivals = [(request.candidates.keys() - {"evolved"}).pop() for request in world.executor.requests(SelectRequest)]
    assert rivals == ["adapted", "old", "old"]
    assert [e.get("untaught") for e in world.events("select")] == [
        {"old": 0.4, "adapted": 0.6}, {}, {"old": 0.6, "adapted": 0.4}
    ]  # fmt: skip


def test_of_equals_the_old_model_stays_in_whatever_order_they_are_told(tmp_path):
    """A resumed run reads them from a file."""
    world = World(tmp_path / "run", answers=changed("rank", scores={"adapted": 0.5, "old": 0.5}))
    window = world.window()
    window.adapt_batch_norm()
    window.label()
    window.distil()
    window.deploy()
    assert all(request.candidates.keys() == {"old", "evolved"} for request in world.executor.requests(SelectRequest))


def test_a_method_that_does_not_distil_compares_them_as_well(tmp_path):
    world = World(tmp_path / "run")
    window = world.window()
    window.adapt_batch_norm()
    window.label()
    window.adapt_adversarially()
    window.deploy()
    assert world.kinds()[-3:] == ["rank", "select", "export"]


@pytest.mark.parametrize(
    ("frames", "share", "taught"), [(96, 0.15, 82), (3, 0.15, 2), (2, 0.5, 1), (1, 0.15, 1), (0, 0.15, 0), (5, 0.0, 5)]
)
def test_one_frame_at_least_is_held_back_and_one_is_learned_from(frames, share, taught):
    assert DeploymentConfig(held_back=share).taught(frames) == taught


@pytest.mark.parametrize(("adapts", "chosen"), [(True, "adapted"), (False, "old")])
def test_a_model_that_learned_from_the_only_frame_is_not_deployed(adapts, chosen, tmp_path):
    world = World(tmp_path / "run")
    window, before = world.window(), dict(world.server.models)
    window = Window(world.server, 0, dict.fromkeys(NAMES, replace(CAPTURED, frames=1)))
    if adapts:
        window.adapt_batch_norm()
    window.label()
    window.distil()
    window.deploy()
    assert "select" not in world.kinds()
    assert [(e["chosen"], e["frames"]) for e in world.events("select")] == [(chosen, 0)] * 3
    assert (world.server.models == before) == (not adapts)


def test_without_held_back_frames_every_evolved_model_is_deployed(tmp_path):
    world = World(tmp_path / "run", **{"deployment.held_back": 0.0})
    window = world.window()
    window.label()
    window.distil()
    window.deploy()
    assert "select" not in world.kinds()
    assert world.server.models["campus"] == window.file("campus", "terminal.safetensors")
    assert len(world.server.replay["campus"]) == 1


def test_nothing_is_merged_where_no_pair_has_learned(tmp_path):
    world = World(tmp_path / "run")
    window = world.window()
    assert window.merge(window.groups) == []
    assert world.kinds() == []


def test_a_failed_terminal_drops_out_and_keeps_its_model(tmp_path):
    def fails(asked):
        hit = (asked.id.kind, asked.id.subject) == ("distil", "village")
        return TaskFailure(name=str(asked.id), reason="gone", attempts=2) if hit else None

    world = World(tmp_path / "run", fails=fails)
    window, before = world.window(), dict(world.server.models)
    window.label()
    window.distil()
    window.deploy()
    assert window.names == ["campus", "downtown"]
    assert world.server.models["village"] == before["village"]
    assert world.server.models["campus"] == window.file("campus", "terminal.safetensors")
    assert len(world.executor.requests(ExportRequest)) == 2


def test_earlier_models_are_tried_and_earlier_frames_replayed(tmp_path):
    world = World(tmp_path / "run", answers=changed("choose", index=1, scores=(0.2, None)))
    original = world.server.models["campus"]
    for number in range(2):
        window = world.window(number)
        window.label()
        window.choose_starts()
        window.distil(replay=True)
        window.deploy()
    assert world.executor.requests(ChooseRequest)[0].candidates[1] == original
    last = world.executor.requests(DistilRequest)[-3]
    assert last.terminal == original
    assert [s.upload for s in last.replay] == [world.window(0).file("campus", "upload.safetensors")]
    assert world.events("reuse")[0]["scores"] == [0.2, None]


def test_methods_without_a_teacher(tmp_path):
    world = World(tmp_path / "run")
    window = world.window()
    window.label_themselves()
    window.read_ground_truth()
    window.adapt_adversarially()
    window.minimise_entropy()
    window.re_estimate_batch_norm()
    window.average_terminals()
    window.deploy()
    assert world.kinds() == [
        "self-label", "ground-truth", "adapt", "adapt-scale-and-shift", "adapt-batch-norm", "average", "select",
        "export",
    ]  # fmt: skip
    assert len({world.server.models[name] for name in NAMES}) == 1


def test_what_a_terminal_was_sent_is_known_and_stays_in_use(tmp_path):
    world = World(tmp_path / "run")
    window = world.window(4)
    window.label()
    window.distil()
    window.deploy()
    (request, *_) = world.executor.requests(ExportRequest)
    assert request.folder == world.layout.deployed(4, "campus") == world.server.deployed["campus"]
    assert (request.version.run, request.version.window, request.version.terminal) == (
        world.config.digest, 4, "campus"
    )  # fmt: skip
    assert request.folder / "model.onnx" in world.server.files_in_use()


def test_the_digest_names_what_is_computed_and_not_where():
    config = load_preset("quick")
    assert len(config.digest) == 12
    assert override(config, {"execution.workers": 3}).digest == config.digest
    assert override(config, {"seed": 1}).digest != config.digest
