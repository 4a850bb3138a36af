"""From requests to typed results, and what the predictions learn of them."""

import json

import pytest

from nestevo_hw.base.errors import InputError
from nestevo_hw.evolution.config import load_preset
from nestevo_hw.evolution.costs import FIRST_GUESS, TaskCosts
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.steps.camera import CaptureRequest, CaptureResult
from nestevo_hw.evolution.steps.table import CAPTURE
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.profiler.target import CPU
from nestevo_hw.scheduler.task import Excess, TaskFailure
from nestevo_hw.testing.simulated import SimulatedExecutor


def dispatch(folder, executor):
    config = load_preset("quick")
    costs = TaskCosts(config, CPU)
    return Dispatch(config, Journal(RunLayout(folder), executor, lambda _: None), costs), costs


def requests(folder):
    return {
        name: CaptureRequest(frames=n, upload=folder / name, test=folder / f"{name}-test", truth=None)
        for name, n in (("a", 12), ("b", 24))
    }


def test_results_are_typed_and_teach_the_predictions(tmp_path):
    own, costs = dispatch(tmp_path, SimulatedExecutor())
    assert costs.predict("capture", "a") == FIRST_GUESS
    done = own.run(CAPTURE, 0, requests(tmp_path))
    assert {name: f.value.frames for name, f in done.items()} == {"a": 12, "b": 24}
    assert isinstance(done["a"].value, CaptureResult)
    assert done["a"].ran_s == CAPTURE.typical_s
    assert costs.predict("capture", "a").duration_s == CAPTURE.typical_s


def test_what_failed_is_missing(tmp_path):
    def fails(asked):
        return TaskFailure(name=str(asked.id), reason="gone", attempts=2) if asked.id.subject == "a" else None

    own, _ = dispatch(tmp_path, SimulatedExecutor(fails=fails))
    assert list(own.run(CAPTURE, 0, requests(tmp_path))) == ["b"]


def test_what_failed_for_want_of_memory_is_recorded_and_learned_from(tmp_path):
    """The next such task of that terminal reserves what this one took; on a second reading as well."""
    excess = Excess(reserved_bytes=700_000_000, peak_bytes=1_500_000_000, stopped=True)

    def fails(asked):
        found = TaskFailure(name=str(asked.id), reason="no memory", attempts=2, excess=excess)
        return found if asked.id.subject == "a" else None

    for executor in (SimulatedExecutor(fails=fails), SimulatedExecutor()):
        own, costs = dispatch(tmp_path, executor)
        own.run(CAPTURE, 0, requests(tmp_path))
        assert [costs.predict("capture", name).memory_bytes for name in "ab"] == [1_500_000_000, 600_000_000]
        events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert [e["event"] for e in events] == ["failure", "exceeded", "task"]
        assert events[1] == {
            "event": "exceeded", "window": 0, "kind": "capture", "terminal": "a", "reserved_bytes": 700_000_000,
            "peak_bytes": 1_500_000_000, "stopped": True,
        }  # fmt: skip


def test_a_foreign_result_is_named_with_its_file_and_field(tmp_path):
    own, _ = dispatch(tmp_path, SimulatedExecutor())
    own.run(CAPTURE, 0, requests(tmp_path))
    path = RunLayout(tmp_path).results / TaskId(0, "capture", "b").file_name
    document = json.loads(path.read_text())
    document["value"]["frames"] = None
    path.write_text(json.dumps(document))
    again, _ = dispatch(tmp_path, SimulatedExecutor())
    with pytest.raises(
        InputError, match=r"w0\.capture\.b\.json: value: frames: .*integer.*None.*; delete it and resume again"
    ):
        again.run(CAPTURE, 0, requests(tmp_path))


def test_expected_gains_reach_the_scheduler(tmp_path):
    seen = {}

    class Watching(SimulatedExecutor):
        def run(self, tasks, on_result=None, on_failure=None):
            seen.update({task.name: task.expected_gain for task in tasks})
            return super().run(tasks, on_result, on_failure)

    own, _ = dispatch(tmp_path, Watching())
    own.gains["b"] = 0.25
    own.run(CAPTURE, 0, requests(tmp_path))
    assert seen == {"w0/capture/a": None, "w0/capture/b": 0.25}
