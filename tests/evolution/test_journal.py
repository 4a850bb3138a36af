"""What a run remembers: results, failures, and the events of its tasks."""

import json
from dataclasses import replace

import pytest

from nestevo_hw.base.errors import ConfigError, InputError, TaskError
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.teacher import Groups
from nestevo_hw.report.records.terminal import Accuracy
from nestevo_hw.scheduler.task import Task, TaskFailure, TaskResult

IDS = (TaskId(0, "label", "a"), TaskId(0, "label", "b"))
TASKS = {id_: Task(name=str(id_), function="a.b:c", payload={}, memory_bytes=10, duration_s=2.0) for id_ in IDS}


class Executor:
    """Ends each task a second after it began; keeps their names."""

    def __init__(self, failures=()):
        self.failures, self.ran = dict(failures), []

    def run(self, tasks, on_result, on_failure):
        for task in tasks:
            self.ran.append(task.name)
            if task.name in self.failures:
                on_failure(task, self.failures[task.name])
            else:
                on_result(task, TaskResult(
                    name=task.name, value={"x": 1}, submitted_s=0.0, started_s=1.0, ended_s=2.0, worker=0,
                    peak_memory_bytes=7,
                ))  # fmt: skip


def journal(folder, executor, on_task=lambda _: None):
    folder.mkdir(exist_ok=True)
    return Journal(RunLayout(folder), executor, on_task)


def events(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def failure(name, error_type=""):
    return TaskFailure(name=name, reason="its worker was killed", attempts=2, error_type=error_type)


def test_a_finished_task_is_not_run_again_and_its_times_go_on(tmp_path):
    first, told = Executor(), []
    journal(tmp_path / "run", first).run({IDS[0]: TASKS[IDS[0]]})
    second = Executor()
    again = journal(tmp_path / "run", second, lambda task: told.append(task.name))
    results = again.run(TASKS)
    assert (first.ran, second.ran, told) == (["w0/label/a"], ["w0/label/b"], ["w0/label/a", "w0/label/b"])
    assert [results[i].ended_s for i in IDS] == [2.0, 4.0]
    (a, b) = events(tmp_path / "run")
    assert (a["event"], a["kind"], a["terminal"], a["window"]) == ("task", "label", "a", 0)
    assert (b["predicted_s"], b["predicted_bytes"], b["peak_bytes"]) == (2.0, 10, 7)


def test_a_failure_is_kept_and_logged(tmp_path):
    executor = Executor({"w0/label/a": failure("w0/label/a")})
    first = journal(tmp_path / "run", executor).run(TASKS)
    assert [type(first[id_]) for id_ in IDS] == [TaskFailure, TaskResult]
    again = Executor()
    assert journal(tmp_path / "run", again).run(TASKS) == first
    assert again.ran == []
    assert events(tmp_path / "run")[0] == {
        "event": "failure", "window": 0, "kind": "label", "terminal": "a", "reason": "its worker was killed"
    }  # fmt: skip


@pytest.mark.parametrize(("window", "error_type"), [(None, ""), (0, "OutputError")])
def test_a_failure_that_would_hit_every_task_ends_the_run(tmp_path, window, error_type):
    id_ = TaskId(window, "label", "a")
    executor = Executor({str(id_): failure(str(id_), error_type)})
    tasks = {id_: replace(TASKS[IDS[0]], name=str(id_))}
    with pytest.raises(TaskError, match="its worker was killed"):
        journal(tmp_path / "run", executor).run(tasks)
    assert not list((tmp_path / "run").glob("results/*a.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "top level: .*object"),
        ('{"name": "x"}', "value: field required"),
        ('{"name": "x", "value": {}, "submitted_s": 0, "started_s": "soon"}', r"started_s: .*\(got 'soon'\)"),
        ('{"failed": 3}', "failed: top level: expected an object"),
    ],
)
def test_a_damaged_result_is_named_with_its_field(tmp_path, text, message):
    results = tmp_path / "run" / "results"
    results.mkdir(parents=True)
    (results / "w0.label.a.json").write_text(text)
    with pytest.raises(InputError, match=rf"w0\.label\.a\.json.*{message}.*; delete it and resume again"):
        journal(tmp_path / "run", Executor())


def test_events_say_null_for_what_is_not_known_and_for_before_the_first_window(tmp_path):
    own = journal(tmp_path / "run", Executor())
    own.log(Groups(by="name", groups={"north": ("a",)}))
    own.log(
        Accuracy(window=1, model="a", scene="a", stage="after", score=float("nan"), metrics={"map50": float("nan")})
    )
    before, after = events(tmp_path / "run")
    assert before == {"event": "groups", "by": "name", "groups": {"north": ["a"]}, "window": None}
    assert (after["score"], after["metrics"], after["window"]) == (None, {"map50": None}, 1)
    assert SETUP == -1


def test_what_shows_that_the_configuration_cannot_run_is_its_fault(tmp_path):
    executor = Executor({"w0/label/a": failure("w0/label/a", "ConfigError")})
    with pytest.raises(ConfigError, match="its worker was killed"):
        journal(tmp_path / "run", executor).run(TASKS)
