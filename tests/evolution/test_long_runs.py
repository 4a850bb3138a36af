"""Hundreds of windows, terminals that come and go, cameras that fail: the run goes on and says what happened."""

import gc
import json
import tracemalloc
from dataclasses import fields, replace
from pathlib import Path

import pytest

from nestevo_hw.base.errors import TaskError
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.steps.camera import CaptureRequest
from nestevo_hw.evolution.steps.labels import LabelFiles
from nestevo_hw.evolution.steps.relating import RelateResult
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.scheduler.task import TaskFailure
from nestevo_hw.testing import simulated


def config(windows, **terminal):
    document = override(load_preset("quick"), {"window.count": windows, "execution.keep_windows": 2}).document()
    document["terminals"][1] |= terminal
    return parse_config(document, source="test")


def events(folder, kind):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == kind]


@pytest.mark.slow
def test_memory_of_the_driver_does_not_grow_with_the_windows(tmp_path):
    """Live Python memory after 30 and after 120 windows: pathlib interns about 30 file names a window, nothing else."""
    held = []
    simulated.drive(config(3), tmp_path / "modules that load late", simulated.SimulatedExecutor())
    for windows in (30, 120):
        tracemalloc.start()
        server = simulated.drive(config(windows), tmp_path / str(windows), simulated.SimulatedExecutor())
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert server.models["campus"].parent.parent.name == f"{windows - 1:03d}"
    assert held[1] < held[0] + 90 * 4096


def test_terminals_join_and_leave(tmp_path):
    simulated.drive(config(5, joins=1, leaves=3), tmp_path, simulated.SimulatedExecutor())
    seen = {e["window"] for e in events(tmp_path, "accuracy") if e["model"] == "village"}
    assert seen == {1, 2}


def test_a_camera_that_sends_nothing_of_use_sits_out_the_window(tmp_path):
    def faulty(asked):
        value = simulated.typical(asked)
        return replace(value, fault="sent noise") if asked.id == TaskId(1, "capture", "village") else value

    simulated.drive(config(3), tmp_path, simulated.SimulatedExecutor(answers=faulty))
    assert [(e["window"], e["terminal"], e["reason"]) for e in events(tmp_path, "absent")] == [
        (1, "village", "sent noise")
    ]
    assert {e["window"] for e in events(tmp_path, "accuracy") if e["model"] == "village"} == {0, 2}


def test_a_camera_that_uploads_nothing_borrows_from_its_group(tmp_path):
    executor = simulated.SimulatedExecutor(remember=True)
    simulated.drive(config(2, upload_frames=0), tmp_path, executor)
    assert [(e["window"], e["terminal"], e["of"]) for e in events(tmp_path, "borrowed")] == [
        (0, "village", "campus"), (1, "village", "campus")
    ]  # fmt: skip
    captures = [a for a in executor.asked if a.id.kind == "capture" and a.id.subject == "village"]
    lent = [a.request.lent for a in captures]
    assert [one.upload.parent.name for one in lent] == ["campus", "campus"]
    assert {(e["window"], e["stage"]) for e in events(tmp_path, "accuracy") if e["model"] == "village"} >= {
        (0, "before"), (0, "after"), (1, "before"), (1, "after")
    }  # fmt: skip
    assert events(tmp_path, "absent") == []


def test_what_one_camera_has_seen_counts_once(tmp_path):
    """A borrower has no say on drift, partners and asking; frames are no neighbours of themselves."""
    executor = simulated.SimulatedExecutor(remember=True)
    settings = override(config(2, upload_frames=0), {"replay.related": 1.0, "trigger.mode": "request"})
    simulated.drive(settings, tmp_path, executor)
    done = {kind: {a.id.subject for a in executor.asked if a.id.kind == kind} for kind in ("mutual", "detect-drift")}
    assert done == {"mutual": {"campus", "downtown"}, "detect-drift": {"campus", "downtown"}}
    assert {e["terminal"] for e in events(tmp_path, "sense")} == {"campus", "downtown"}
    distilled = {a.id.subject: a.request for a in executor.asked if a.id.kind == "distil"}
    lent = {name: [one.upload.parent.name for one in request.neighbours] for name, request in distilled.items()}
    assert lent == {"campus": ["downtown"], "village": ["downtown"], "downtown": ["campus"]}
    assert distilled["village"].steps == 2 * distilled["campus"].steps


@pytest.mark.parametrize("method", ["A4", "NestEvo"])
def test_where_nobody_lends_it_keeps_its_model_and_is_scored(tmp_path, method):
    """A baseline lends nothing; nor do cameras of another group."""
    alone = {"method": method} if method == "A4" else {"groups.by": "name"}
    document = override(config(1, upload_frames=0), alone).document()
    for terminal in document["terminals"]:
        terminal["group"] = None if method == "A4" else terminal["name"]
    simulated.drive(parse_config(document, source="test"), tmp_path, simulated.SimulatedExecutor())
    assert [(e["terminal"], e["reason"]) for e in events(tmp_path, "absent")] == [
        ("village", "sends no frames, and no terminal of its group lends any")
    ]
    assert {e["stage"] for e in events(tmp_path, "accuracy") if e["model"] == "village"} == {"before"}
    assert {e["stage"] for e in events(tmp_path, "accuracy") if e["model"] == "campus"} >= {"before", "after"}


def test_neighbours_are_those_of_the_group(tmp_path):
    document = override(config(1), {"groups.by": "name", "replay.related": 1.0}).document()
    for terminal, group in zip(document["terminals"], ("north", "north", "south"), strict=True):
        terminal["group"] = group
    executor = simulated.SimulatedExecutor(remember=True)
    simulated.drive(parse_config(document, source="test"), tmp_path, executor)
    distilled = {a.id.subject: a.request.neighbours for a in executor.asked if a.id.kind == "distil"}
    lent = {name: [sample.upload.parent.name for sample in samples] for name, samples in distilled.items()}
    assert lent == {"campus": ["village"], "village": ["campus"], "downtown": []}


@pytest.mark.parametrize(
    ("changes", "learned"),
    [
        ({}, {"campus": ["village"], "village": [], "downtown": ["campus", "village"]}),
        ({"replay.related": 0.2}, {"campus": [], "village": [], "downtown": ["campus"]}),
        ({"replay.neighbours": 0}, {"campus": [], "village": [], "downtown": []}),
        ({"method": "A4"}, {"campus": [], "village": [], "downtown": []}),
        ({"method": "terminals-only"}, {"campus": ["village"], "village": [], "downtown": ["campus", "village"]}),
    ],
)
def test_a_terminal_learns_the_frames_of_those_that_see_the_same_kind_of_scene(tmp_path, changes, learned):
    apart = {
        "campus": {"village": 0.5, "downtown": 0.51}, "village": {"campus": 0.6, "downtown": 7.0},
        "downtown": {"campus": 0.1, "village": 0.3},
    }  # fmt: skip

    def answers(asked):
        return RelateResult(distances=apart) if asked.id.kind == "relate" else simulated.typical(asked)

    executor = simulated.SimulatedExecutor(answers=answers, remember=True)
    simulated.drive(override(config(1), changes), tmp_path, executor)
    distilled = {a.id.subject: a.request.neighbours for a in executor.asked if a.id.kind == "distil"}
    assert {n: [sample.upload.parent.name for sample in samples] for n, samples in distilled.items()} == learned
    told = [(e["terminal"], e["to"], e["distances"]) for e in events(tmp_path, "related")]
    related = any(learned.values()) or "replay.related" in changes
    assert told == ([(name, learned[name], apart[name]) for name in apart] if related else [])


def test_a_failure_is_remembered_so_that_a_resumed_run_takes_the_same_turns(tmp_path):
    def once(asked):
        if asked.id == TaskId(0, "mutual", "village"):
            return TaskFailure(name=str(asked.id), reason="its worker was killed", attempts=2)
        return None

    simulated.drive(config(2), tmp_path, simulated.SimulatedExecutor(fails=once))
    first = events(tmp_path, "failure") + events(tmp_path, "accuracy")
    again = simulated.SimulatedExecutor(remember=True)
    simulated.drive(config(2), tmp_path, again)
    assert again.asked == []
    assert events(tmp_path, "failure") + events(tmp_path, "accuracy") == first


@pytest.mark.parametrize("error_type", ["OutputError", "KeyError"])
def test_what_would_hit_every_task_ends_the_run_and_loses_nothing(error_type, tmp_path):
    """A full disk, or a mistake in the program."""

    def fails(asked):
        if asked.id == TaskId(1, "distil", "village"):
            return TaskFailure(
                name=str(asked.id), reason="no space left", attempts=1, error_type=error_type, traceback=".."
            )
        return None

    with pytest.raises(TaskError, match="no space left"):
        simulated.drive(config(2), tmp_path, simulated.SimulatedExecutor(fails=fails))
    again = simulated.SimulatedExecutor(remember=True)
    simulated.drive(config(2), tmp_path, again)
    assert TaskId(1, "distil", "village") in [asked.id for asked in again.asked]
    assert {asked.id.window for asked in again.asked} == {1}


def test_old_windows_leave_the_disk_but_not_what_is_still_in_use(tmp_path):
    """Simulated tasks write nothing, so files are laid down as real ones would be."""
    settings = config(6)

    def writing(asked):
        for field in fields(asked.request):
            path = getattr(asked.request, field.name)
            path = path.supervision if isinstance(path, LabelFiles) else path
            if isinstance(path, Path) and path.is_relative_to(tmp_path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return simulated.typical(asked)

    server = simulated.drive(settings, tmp_path, simulated.SimulatedExecutor(answers=writing))
    left = set((tmp_path / "windows").rglob("*.safetensors"))
    old = {path for path in left if int(path.relative_to(tmp_path / "windows").parts[0]) < 4}
    assert old
    assert old <= server.files_in_use()
    assert {path for path in server.files_in_use() if path.name == "terminal.safetensors"} <= left


def test_groups_have_teachers_of_their_own(tmp_path):
    document = override(load_preset("quick"), {"window.count": 2, "groups.by": "name"}).document()
    for terminal, group in zip(document["terminals"], ("north", "north", "south"), strict=True):
        terminal["group"] = group
    executor = simulated.SimulatedExecutor(remember=True)
    server = simulated.drive(parse_config(document, source="test"), tmp_path, executor)
    merged = [asked.id.subject for asked in executor.asked if (asked.id.window, asked.id.kind) == (0, "merge")]
    assert merged == ["north", "south"]
    teachers = {group: upkeep.teacher.weights for group, upkeep in server.upkeep.items()}
    assert teachers["north"] != teachers["south"]
    assert {e["group"] for e in events(tmp_path, "deploy")} == {"north", "south"}


def test_the_upload_budget_follows_drift(tmp_path):
    settings = override(config(2), {"sampling.budget_frames": 120, "sampling.least_frames": 20})
    drift = {"campus": 30.0, "village": 10.0, "downtown": 20.0}

    def drifted(asked):
        value = simulated.typical(asked)
        return replace(value, score=drift[asked.id.subject]) if asked.id.kind == "detect-drift" else value

    executor = simulated.SimulatedExecutor(answers=drifted, remember=True)
    simulated.drive(settings, tmp_path, executor)
    assert [r.frames for r in executor.requests(CaptureRequest)] == [40, 40, 40, 50, 30, 40]


def test_a_terminal_that_finds_itself_well_does_not_request_evolution(tmp_path):
    settings = override(config(2), {"trigger.mode": "request", "trigger.margin": 0.5})
    server = simulated.drive(settings, tmp_path, simulated.SimulatedExecutor())
    assert {e["requests"] for e in events(tmp_path, "sense")} == {False}
    assert not events(tmp_path, "lifecycle")
    assert all("windows" not in path.parts for path in server.models.values())
