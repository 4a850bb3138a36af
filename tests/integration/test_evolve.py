"""The whole loop on a small configuration: what it writes, that it repeats, and that a killed run resumes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import golden_runs
import pytest
from small_run import SMALL

from nestevo_hw.models.onnx.manifest import read_manifest


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "nestevo_hw", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=900)


def outcome(folder: Path) -> list[dict[str, object]]:
    """Everything a run found out, but not how long it took."""
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [e for e in events if e["event"] not in {"task", "lifecycle"}]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """An unbroken run and its configuration."""
    root = tmp_path_factory.mktemp("evolve")
    (root / "small.toml").write_text(SMALL)
    done = run("evolve", root / "small.toml", "--out", root / "whole", "--json")
    assert done.returncode == 0, done.stderr
    return root / "small.toml", root / "whole", json.loads(done.stdout)


def test_a_run_leaves_everything_it_promises(whole_run):
    _, folder, summary = whole_run
    for name in ("run.json", "metrics.jsonl", "report.html", "overview.png", "windows/000/teacher.safetensors"):
        assert (folder / name).stat().st_size > 0
    for terminal in ("campus", "village"):
        deployed = folder / "windows/000" / terminal / "deployed"
        manifest = read_manifest(deployed)
        assert (manifest.version.window, manifest.version.terminal) == (0, terminal)
        assert (folder / "samples" / f"w0-{terminal}-after.png").exists()
    assert [t["name"] for t in summary["terminals"]] == ["campus", "village"]
    assert set(summary["delay_s"]["parts"]) == {
        "communication_s",
        "labelling_s",
        "programming_s",
        "waiting_s",
        "training_s",
    }
    kinds = {e["event"] for e in outcome(folder)}
    assert kinds == {
        "program",
        "refresh",
        "sense",
        "drift",
        "decision",
        "generator",
        "deploy",
        "select",
        "accuracy",
        "related",
        "calibration",
    }
    programmed = [e["cause"] for e in outcome(folder) if e["event"] == "program"]
    assert programmed == ["first", "refresh", "new teacher"]
    assert summary["programming"]["count"] == 3


def test_the_figures_are_the_frozen_ones(whole_run):
    _, folder, _ = whole_run
    golden_runs.check(folder, "detection")


def test_onnx_runtime_gives_the_accuracy_of_the_checkpoint(whole_run):
    _, _, summary = whole_run
    for terminal in summary["terminals"]:
        assert 0.0 <= terminal["adapted"] <= 1.0
        assert abs(terminal["onnx_off"]) <= 0.01


def test_a_run_killed_at_any_moment_resumes_to_the_same_result(whole_run, tmp_path):
    config, whole, _ = whole_run
    folder = tmp_path / "killed"
    for finished in (2, 9, 15):
        start = ("--resume", folder) if folder.exists() else (config, "--out", folder)
        process = subprocess.Popen(command("evolve", *start), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for(folder / "results", finished, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert json.loads((folder / "run.json").read_text())["status"] == "running"
    resumed = run("evolve", "--resume", folder, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert outcome(folder) == outcome(whole)


def _wait_for(results: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while len(list(results.glob("*.json"))) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_folder_in_use_is_not_overwritten(whole_run):
    config, folder, _ = whole_run
    refused = run("evolve", config, "--out", folder)
    assert refused.returncode == 2
    said = f"Error: {folder} is not empty; choose another --out, or --resume the run in it"
    assert refused.stderr.splitlines()[-1] == said


@pytest.mark.slow
def test_a_finished_run_can_be_resumed_and_changes_nothing(whole_run):
    _, folder, summary = whole_run
    before = outcome(folder)
    again = run("evolve", "--resume", folder, "--json")
    assert again.returncode == 0, again.stderr
    assert outcome(folder) == before
    assert json.loads(again.stdout)["terminals"] == summary["terminals"]


@pytest.mark.slow
def test_a_resumed_run_may_change_where_it_computes_and_nothing_else(whole_run):
    _, folder, _ = whole_run
    before = outcome(folder)
    again = run("evolve", "--resume", folder, "--workers", "1", "--memory-gb", "5", "--device", "cpu", "--json")
    assert again.returncode == 0, again.stderr
    assert outcome(folder) == before
    execution = json.loads((folder / "run.json").read_text())["config"]["execution"]
    assert (execution["workers"], execution["memory_gb"], execution["device"]) == (1, 5.0, "cpu")
    refused = run("evolve", "--resume", folder, "--seed", "1")
    assert refused.returncode == 2
    assert "beside it, give only --workers, --memory-gb, --device, --gpus, --executor or --address" in refused.stderr


@pytest.mark.slow
def test_a_terminated_run_says_how_to_go_on(whole_run, tmp_path):
    config, _, _ = whole_run
    folder = tmp_path / "ended"
    process = subprocess.Popen(command("evolve", config, "--out", folder), stderr=subprocess.PIPE, text=True)
    _wait_for(folder / "results", 2, process)
    process.terminate()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    kept = len(list((folder / "results").iterdir()))
    assert said.splitlines()[-1] == (
        f"Error: stopped by SIGTERM after {kept} tasks, which are kept in {folder}; "
        f"go on with `nestevo-hw evolve --resume {folder}`"
    )
    assert not list(folder.rglob("*.tmp"))
    assert not (folder / ".lock").exists()
    header = json.loads((folder / "run.json").read_text())
    assert header["status"] == "stopped"
    assert header["ended"].startswith(f"stopped by SIGTERM after {kept} tasks")
