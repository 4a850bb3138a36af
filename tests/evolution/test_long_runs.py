"""Hundreds of windows, terminals that come and go, cameras that fail: the run goes on and says what happened."""

import gc
import json
import tracemalloc

import pytest
from scale_benchmark import evolution_scale as scale

from nestevo_hw.base.errors import TaskError
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.scheduler.task import TaskFailure


def config(windows, **terminal):
    document = override(load_preset("quick"), {"window.count": windows, "execution.keep_windows": 2}).document()
    document["terminals"][1] |= terminal
    return parse_config(document, source="test")


def events(folder, kind):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == kind]


def test_memory_of_the_driver_does_not_grow_with_the_windows(tmp_path):
    """Live Python memory after 30 and after 120 windows: pathlib interns about 30 file names a window, nothing else."""
    held = []
    scale.drive(config(3), tmp_path / "modules that load late", scale.SimulatedExecutor())
    for windows in (30, 120):
        tracemalloc.start()
        server = scale.drive(config(windows), tmp_path / str(windows), scale.SimulatedExecutor())
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert server.models["campus"].parent.parent.name == f"{windows - 1:03d}"
    assert held[1] < held[0] + 90 * 4096


def test_terminals_join_and_leave(tmp_path):
    scale.drive(config(5, joins=1, leaves=3), tmp_path, scale.SimulatedExecutor())
    seen = {e["window"] for e in events(tmp_path, "accuracy") if e["model"] == "village"}
    assert seen == {1, 2}


def test_a_camera_that_sends_nothing_of_use_sits_out_the_window(tmp_path):
    executor = scale.SimulatedExecutor()
    plain = scale.answer

    def faulty(task):
        value = plain(task)
        return {**value, "fault": "sent noise"} if task.name == "w1/capture/village" else value

    scale.answer = faulty
    try:
        scale.drive(config(3), tmp_path, executor)
    finally:
        scale.answer = plain
    assert [(e["window"], e["terminal"], e["reason"]) for e in events(tmp_path, "absent")] == [
        (1, "village", "sent noise")
    ]
    assert {e["window"] for e in events(tmp_path, "accuracy") if e["model"] == "village"} == {0, 2}


def test_a_failure_is_remembered_so_that_a_resumed_run_takes_the_same_turns(tmp_path):
    def once(task):
        if task.name == "w0/mutual/village":
            return TaskFailure(name=task.name, reason="its worker was killed", attempts=2)
        return None

    scale.drive(config(2), tmp_path, scale.SimulatedExecutor(fails=once))
    first = events(tmp_path, "failure") + events(tmp_path, "accuracy")
    again = scale.SimulatedExecutor(remember=True)
    scale.drive(config(2), tmp_path, again)
    assert again.ran == []
    assert events(tmp_path, "failure") + events(tmp_path, "accuracy") == first


@pytest.mark.parametrize("error_type", ["OutputError", "KeyError"])
def test_what_would_hit_every_task_ends_the_run_and_loses_nothing(error_type, tmp_path):
    """A full disk, or a mistake in the program."""

    def fails(task):
        if task.name == "w1/distil/village":
            return TaskFailure(
                name=task.name, reason="no space left", attempts=1, error_type=error_type, traceback=".."
            )
        return None

    with pytest.raises(TaskError, match="no space left"):
        scale.drive(config(2), tmp_path, scale.SimulatedExecutor(fails=fails))
    again = scale.SimulatedExecutor(remember=True)
    scale.drive(config(2), tmp_path, again)
    assert "w1/distil/village" in again.ran
    assert not [name for name in again.ran if name.startswith("w0/")]


def test_old_windows_leave_the_disk_but_not_what_is_still_in_use(tmp_path):
    """Simulated tasks write nothing, so files are laid down as real ones would be."""
    settings = config(6)

    class Writing(scale.SimulatedExecutor):
        def run(self, tasks, on_result=None, on_failure=None):
            for task in tasks:
                for key in ("upload", "test", "supervision", "terminal_out", "onnx"):
                    if task.payload.get(key):
                        path = tmp_path / str(task.payload[key])
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.touch()
            return super().run(tasks, on_result, on_failure)

    server = scale.drive(settings, tmp_path, Writing())
    left = set((tmp_path / "windows").rglob("*.safetensors"))
    old = {path for path in left if int(path.relative_to(tmp_path / "windows").parts[0]) < 4}
    assert old
    assert old <= server.files_in_use()
    assert {path for path in server.files_in_use() if path.name == "terminal.safetensors"} <= left


def test_groups_have_teachers_of_their_own(tmp_path):
    document = override(load_preset("quick"), {"window.count": 2, "groups.by": "name"}).document()
    for terminal, group in zip(document["terminals"], ("north", "north", "south"), strict=True):
        terminal["group"] = group
    executor = scale.SimulatedExecutor(remember=True)
    server = scale.drive(parse_config(document, source="test"), tmp_path, executor)
    assert [n for n in executor.ran if n.startswith("w0/merge")] == ["w0/merge/north", "w0/merge/south"]
    teachers = {group: upkeep.teacher.weights for group, upkeep in server.upkeep.items()}
    assert teachers["north"] != teachers["south"]
    assert {e["group"] for e in events(tmp_path, "deploy")} == {"north", "south"}


def test_the_upload_budget_follows_drift(tmp_path):
    settings = override(config(2), {"sampling.budget_frames": 120, "sampling.least_frames": 20})
    plain, drift = scale.answer, {"campus": 30.0, "village": 10.0, "downtown": 20.0}

    def drifted(task):
        value = plain(task)
        return {**value, "score": drift[task.name.split("/")[2]]} if "/judge/" in task.name else value

    asked = {}

    class Watching(scale.SimulatedExecutor):
        def run(self, tasks, on_result=None, on_failure=None):
            asked.update({t.name: t.payload["frames"] for t in tasks if "/capture/" in t.name})
            return super().run(tasks, on_result, on_failure)

    scale.answer = drifted
    try:
        scale.drive(settings, tmp_path, Watching())
    finally:
        scale.answer = plain
    assert [asked[f"w0/capture/{name}"] for name in drift] == [40, 40, 40]
    assert [asked[f"w1/capture/{name}"] for name in drift] == [50, 30, 40]


def test_a_terminal_that_finds_itself_well_does_not_ask(tmp_path):
    settings = override(config(2), {"trigger.mode": "request", "trigger.margin": 0.5})
    server = scale.drive(settings, tmp_path, scale.SimulatedExecutor())
    assert {e["requests"] for e in events(tmp_path, "sense")} == {False}
    assert not events(tmp_path, "lifecycle")
    assert all("windows" not in path.parts for path in server.models.values())
