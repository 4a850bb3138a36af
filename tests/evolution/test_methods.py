"""Every method keeps the same promises: same frames, same optimiser steps, no truth, and it outlives failures."""

import json

import pytest

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.outlook import most_tasks
from nestevo_hw.evolution.steps.camera import CaptureRequest
from nestevo_hw.evolution.steps.scoring import EvaluateRequest
from nestevo_hw.evolution.steps.training import BatchNormRequest
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.scheduler.task import TaskFailure
from nestevo_hw.testing import simulated

TRAINING = ("mutual", "distil", "adapt", "adapt-scale-and-shift")


def config(method, windows=2, **changes):
    document = override(load_preset("quick"), {"method": method, "window.count": windows, **changes}).document()
    if method == "naive-average":
        for terminal in document["terminals"]:
            terminal["model"] = "fasterrcnn-tiny-m2"
    return parse_config(document, source="test")


def drive(folder, settings, **options):
    executor = simulated.SimulatedExecutor(remember=True, **options)
    server = simulated.drive(settings, folder, executor)
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return server, executor, events


def test_every_method_says_what_it_does():
    assert all(METHODS[name].name == name and len(METHODS[name].summary) > 10 for name in METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_has_no_more_tasks_than_its_method_declares(method, tmp_path):
    settings = config(method, windows=3)
    _, executor, _ = drive(tmp_path, settings)
    own = {asked.id.kind for asked in executor.asked if asked.id.window is not None}
    assert own <= {*METHODS[method].kinds, "capture", "sense", "evaluate", "recall", "baseline"}
    assert len(executor.asked) <= most_tasks(settings)


@pytest.mark.parametrize("method", METHODS)
def test_a_terminal_gets_the_same_frames_and_optimiser_steps_whatever_the_method(method, tmp_path):
    settings = config(method)
    METHODS[method].check(settings)
    server, executor, _ = drive(tmp_path, settings)
    assert [r.frames for r in executor.requests(CaptureRequest)] == [settings.window.upload_frames] * 6
    steps = dict.fromkeys(("campus", "village", "downtown"), 0)
    for asked in executor.asked:
        if asked.id.kind in TRAINING:
            steps[asked.id.subject] += asked.request.steps or settings.mutual.plan.steps
    wanted = settings.mutual.plan.steps + settings.distil.plan.steps
    assert set(steps.values()) == ({0} if method in ("A3", "AdaBN") else {2 * wanted})
    evolved = [path for path in server.models.values() if tmp_path in path.parents]
    assert len(evolved) == (0 if method == "A3" else 3)


@pytest.mark.parametrize(("method", "wanted", "sent"), [("NestEvo", True, 6), ("NestEvo", False, 0), ("A4", True, 0)])
def test_terminals_run_an_adapted_model_only_where_the_method_sends_one(method, wanted, sent, tmp_path):
    server, executor, _ = drive(tmp_path, config(method, **{"window.batch_norm_adaptation": wanted}))
    asked = executor.requests(BatchNormRequest)
    scored = [m for r in executor.requests(EvaluateRequest) for m in r.models if m.stage == "adapted"]
    assert len(asked) == len(scored) == sent
    assert {r.terminal_out for r in asked} == {m.weights for m in scored}
    assert not set(server.models.values()) & {m.weights for m in scored}


@pytest.mark.parametrize("method", METHODS)
def test_only_the_reference_reads_the_truth(method, tmp_path):
    _, executor, _ = drive(tmp_path, config(method, windows=1))
    asked = any(r.truth for r in executor.requests(CaptureRequest))
    references = ("true-labels", "labels-completed", "labels-cleaned", "labels-placed")
    assert asked == METHODS[method].wants_truth == (method in references)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["capture", "label", "mutual", "distil", "adapt", "export", "merge", "evaluate"])
def test_a_terminal_whose_task_fails_keeps_its_model_and_the_others_go_on(method, kind, tmp_path):
    """The second terminal, or the teacher, fails in the first window; in the second all is well again."""

    hit = (TaskId(0, kind, "village"), TaskId(0, kind))

    def fails(asked):
        return TaskFailure(name=str(asked.id), reason="its worker was killed", attempts=2) if asked.id in hit else None

    server, executor, events = drive(tmp_path, config(method), fails=fails)
    told = [e for e in events if e["event"] == "failure"]
    happened = any(asked.id in hit for asked in executor.asked)
    assert bool(told) == happened
    if method != "A3":
        assert all("windows/001" in str(path) for path in server.models.values())
        assert any(asked.id.window == 0 for asked in executor.asked if asked.id.kind == "export")


def test_averaging_terminals_of_different_structure_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="campus and village differ in structure, so the mean of their weights"):
        METHODS["naive-average"].check(override(load_preset("quick"), {"method": "naive-average"}))
