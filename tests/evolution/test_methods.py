"""Every method keeps the same promises: same frames, same optimiser steps, no truth, and it outlives failures."""

import json

import pytest
from scale_benchmark import evolution_scale as scale

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.method_names import METHOD_NAMES
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.scheduler.task import TaskFailure

TRAINING = ("mutual", "distil", "adapt")


def config(method, windows=2, **changes):
    document = override(load_preset("quick"), {"method": method, "window.count": windows, **changes}).document()
    if method == "naive-average":
        for terminal in document["terminals"]:
            terminal["model"] = "fasterrcnn-tiny-m2"
    return parse_config(document, source="test")


class Recording(scale.SimulatedExecutor):
    """Keeps what each task was asked."""

    def __init__(self, **options):
        super().__init__(**options)
        self.asked = []

    def run(self, tasks, on_result=None, on_failure=None):
        self.asked += tasks
        return super().run(tasks, on_result, on_failure)

    def payloads(self, kind):
        return [t.payload for t in self.asked if t.name.split("/")[1] == kind]


def drive(folder, settings, **options):
    executor = Recording(**options)
    server = scale.drive(settings, folder, executor)
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return server, executor, events


def test_every_name_has_a_method_and_every_method_says_what_it_does():
    assert tuple(sorted(METHODS)) == tuple(sorted(METHOD_NAMES))
    assert all(METHODS[name].name == name and len(METHODS[name].summary) > 10 for name in METHOD_NAMES)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_terminal_gets_the_same_frames_and_optimiser_steps_whatever_the_method(method, tmp_path):
    settings = config(method)
    METHODS[method].check(settings)
    server, executor, _ = drive(tmp_path, settings)
    assert [p["frames"] for p in executor.payloads("capture")] == [settings.window.upload_frames] * 6
    steps = dict.fromkeys(("campus", "village", "downtown"), 0)
    for task in executor.asked:
        _, kind, *subject = task.name.split("/")
        if kind in TRAINING:
            steps[subject[0]] += task.payload.get("steps", settings.mutual.plan.steps)
    wanted = settings.mutual.plan.steps + settings.distil.plan.steps
    assert set(steps.values()) == ({0} if method in ("A3", "AdaBN") else {2 * wanted})
    evolved = [path for path in server.models.values() if tmp_path in path.parents]
    assert len(evolved) == (0 if method == "A3" else 3)


@pytest.mark.parametrize(("method", "wanted", "sent"), [("NestEvo", True, 6), ("NestEvo", False, 0), ("A4", True, 0)])
def test_terminals_run_an_adapted_model_only_where_the_method_sends_one(method, wanted, sent, tmp_path):
    server, executor, _ = drive(tmp_path, config(method, **{"window.batch_norm_adaptation": wanted}))
    asked = executor.payloads("re_estimate")
    scored = [s for p in executor.payloads("evaluate") for s in p["subjects"] if s["stage"] == "adapted"]
    assert len(asked) == len(scored) == sent
    assert {p["terminal_out"] for p in asked} == {s["weights"] for s in scored}
    assert not {str(path) for path in server.models.values()} & {s["weights"] for s in scored}


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_only_the_reference_reads_the_truth(method, tmp_path):
    _, executor, _ = drive(tmp_path, config(method, windows=1))
    asked = any(p["truth"] for p in executor.payloads("capture"))
    assert asked == METHODS[method].wants_truth == (method == "true-labels")


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("kind", ["capture", "label", "mutual", "distil", "adapt", "export", "merge", "evaluate"])
def test_a_terminal_whose_task_fails_keeps_its_model_and_the_others_go_on(method, kind, tmp_path):
    """The second terminal, or the teacher, fails in the first window; in the second all is well again."""

    def fails(task):
        if task.name in (f"w0/{kind}/village", f"w0/{kind}"):
            return TaskFailure(name=task.name, reason="its worker was killed", attempts=2)
        return None

    server, executor, events = drive(tmp_path, config(method), fails=fails)
    told = [e for e in events if e["event"] == "failure"]
    happened = any(t.name in (f"w0/{kind}/village", f"w0/{kind}") for t in executor.asked)
    assert bool(told) == happened
    if method != "A3":
        assert all("windows/001" in str(path) for path in server.models.values())
        first = {p["terminal_out"] for t in executor.asked if t.name.startswith("w0/export/") for p in [t.payload]}
        assert len(first) >= 1


def test_averaging_terminals_of_different_structure_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="campus and village differ in structure, so the mean of their weights"):
        METHODS["naive-average"].check(override(load_preset("quick"), {"method": "naive-average"}))
