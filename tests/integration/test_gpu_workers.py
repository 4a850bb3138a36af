"""The loop with tasks that stay in their GPU's workers: the same run as one with a process for each task.

Only the main process believes in the GPU, a pretended one: workers find none and compute on the CPU, so that results
are equal to the last bit if nothing of one task is left for the next.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nestevo_hw.evolution import run as running
from nestevo_hw.evolution.config import RunConfig, load_preset, override
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.profiler.target import CUDA

DIGITS = load_preset("digits")
CONFIG = override(
    replace(DIGITS, terminals=DIGITS.terminals[:2]),
    {
        "reference.places": ["campus", "village", "park"],
        "window.count": 1, "window.upload_frames": 16, "window.test_frames": 20, "drift.gamma": 0.0,
        "drift.min_samples": 1, "reference.frames_per_segment": 4, "mutual.plan.steps": 3, "distil.plan.steps": 3,
        "generator.steps": 10, "gate.margin": 1.0, "gate.total_margin": 1.0, "execution.workers": 2,
    },
)  # fmt: skip

pytestmark = pytest.mark.slow


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [e for e in found if (e["event"] in kinds if kinds else e["event"] not in {"task", "lifecycle"})]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted((folder / "windows").rglob("terminal.safetensors"))
    assert files
    return {f"{f.relative_to(folder)} {n}": t for f in files for n, t in load_file(f).items()}


def evolve(folder: Path, config: RunConfig = CONFIG, *, resume: bool = False) -> Path:
    running.evolve(config, folder, resume=resume)
    return folder


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a process for each task."""
    return evolve(tmp_path_factory.mktemp("forked"))


@pytest.fixture(scope="module")
def stayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With workers that stay."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "target_of", lambda _: CUDA)
        return evolve(tmp_path_factory.mktemp("stayed"))


def test_the_same_is_found_out(forked: Path, stayed: Path) -> None:
    assert events(stayed) == events(forked)
    ours, theirs = weights(stayed), weights(forked)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_each_step_reserves_of_the_gpu_if_a_model_computes_in_it(stayed: Path) -> None:
    tasks = events(stayed, "task")
    assert {t["kind"] for t in tasks} >= {"prepare", "dry-run", "capture", "label", "mutual", "merge", "evaluate"}
    for task in tasks:
        assert (task["predicted_bytes"] > CUDA.context_bytes) is (STEPS[task["kind"]].needs != "cpu"), task["kind"]
        assert task["gpu_peak_bytes"] is None, "workers found no GPU"
        assert task["peak_bytes"] > 0, "main memory"


def test_a_run_that_was_broken_off_resumes_to_the_same(
    stayed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In other workers, which have had other tasks before."""
    monkeypatch.setattr(running, "target_of", lambda _: CUDA)
    broken = tmp_path / "broken"
    shutil.copytree(stayed, broken)
    results = sorted((broken / "results").glob("*.json"), key=lambda file: json.loads(file.read_text())["ended_s"])
    for file in results[len(results) * 2 // 3 :]:
        file.unlink()
    # A run folder names its own files.
    for file in [broken / "run.json", *(broken / "results").glob("*.json")]:
        file.write_text(file.read_text().replace(str(stayed), str(broken)))
    evolve(broken, resume=True)
    assert events(broken) == events(stayed)
    ours, theirs = weights(broken), weights(stayed)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
