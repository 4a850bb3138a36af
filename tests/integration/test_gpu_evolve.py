"""The loop on a real GPU: the same decisions as on the CPU, from the same cells."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_run import SMALL

from nestevo_hw.evolution.steps.table import STEPS

pytestmark = pytest.mark.gpu
TOLERANCE = 0.1
"""Of scores on ten frames: converters' noise is drawn anew on another device."""


def evolve(root: Path, device: str) -> Path:
    (root / "small.toml").write_text(SMALL)
    command = [
        sys.executable, "-m", "nestevo_hw", "evolve", str(root / "small.toml"), "--out", str(root / device), "--device",
        device, "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return root / device


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("gpu")
    return evolve(root, "cuda"), evolve(root, "cpu")


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [e for e in found if e["event"] in kinds]


def test_cells_are_programmed_to_the_same_last_bit(runs: tuple[Path, Path]) -> None:
    gpu, cpu = (folder / "crossbar-0.safetensors" for folder in runs)
    assert gpu.read_bytes() == cpu.read_bytes()


def test_decisions_are_those_of_the_cpu(runs: tuple[Path, Path]) -> None:
    def decided(folder: Path) -> list[Any]:
        kept = ("event", "drifted", "epsilon", "mode", "refreshed", "accepted", "cause", "generation", "terminal")
        return [{k: e[k] for k in kept if k in e} for e in events(folder, "drift", "decision", "refresh", "deploy")]

    assert decided(runs[0]) == decided(runs[1])


def test_scores_before_any_training_are_those_of_the_cpu(runs: tuple[Path, Path]) -> None:
    ours, theirs = ([e for e in events(folder, "accuracy") if e["stage"] == "before"] for folder in runs)
    assert len(ours) == len(theirs) == 4
    for one, other in zip(ours, theirs, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=TOLERANCE), one["model"]


def test_tasks_take_memory_of_the_gpu_as_reserved(runs: tuple[Path, Path]) -> None:
    context = json.loads((runs[0] / "run.json").read_text())["machine"]["gpu"]["context_bytes"]
    for task in events(runs[0], "task"):
        if STEPS[task["kind"]].needs == "cpu":
            assert task["gpu_peak_bytes"] == 0, task["name"]
        else:
            assert context < task["gpu_peak_bytes"] <= 1.05 * task["predicted_bytes"] + 2e6, task["name"]


def test_nothing_failed_or_was_tried_twice(runs: tuple[Path, Path]) -> None:
    assert events(runs[0], "failure", "exceeded") == []
    results = [json.loads(file.read_text()) for file in (runs[0] / "results").glob("*.json")]
    assert {one["attempts"] for one in results} == {1}
