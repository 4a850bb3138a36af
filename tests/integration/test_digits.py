"""Image classification through the whole loop, and the loop's ignorance of tasks."""

import ast
import json
from pathlib import Path

import golden_runs
import pytest

import nestevo_hw
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.run import evolve
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.terminal import Accuracy
from nestevo_hw.tasks.names import TASKS

SEAMS = {
    "adversarial",
    "batches",
    "capabilities",
    "confirmation",
    "corrections",
    "deployment",
    "labeller",
    "losses",
    "named",
    "names",
    "predictions",
    "supervision",
    "task",
}
"""Modules of `tasks/` that hold no task of their own."""


@pytest.mark.parametrize("method", ["NestEvo", pytest.param("A1", marks=pytest.mark.slow)])
def test_terminals_that_read_digits_evolve(method, tmp_path):
    small = {
        "window.count": 1, "window.upload_frames": 48, "window.test_frames": 60, "mutual.plan.steps": 10,
        "distil.plan.steps": 10, "reference.frames_per_segment": 6, "generator.steps": 30, "execution.workers": 2,
        "method": method, "drift.gamma": 0.0, "gate.margin": 1.0, "gate.total_margin": 1.0, "trigger.mode": "off",
    }  # fmt: skip
    document = override(load_preset("digits"), small).document()
    document["terminals"] = document["terminals"][:2]
    summary = evolve(parse_config(document, source="test"), tmp_path / "run")
    assert summary["metric"] == "accuracy"
    assert all(0.0 < t["before"] < t["after"] <= 1.0 for t in summary["terminals"])
    assert all(abs(t["onnx_off"]) <= 0.02 for t in summary["terminals"])
    scored = read_run(tmp_path / "run").of(Accuracy)
    assert all(set(a.metrics) == {"accuracy", "mean_recall"} for a in scored)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["metric"] == "accuracy"


def test_nothing_in_evolution_knows_which_task_it_has():
    for path in sorted((Path(nestevo_hw.__file__).parent / "evolution").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nestevo_hw.tasks."):
                assert node.module.split(".")[2] in SEAMS, f"{path.name} imports {node.module}"
            if isinstance(node, ast.Compare):
                compared = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                assert not compared & set(TASKS), f"{path.name} asks which task it has"


@pytest.mark.slow
def test_the_figures_of_the_preset_are_the_frozen_ones(tmp_path):
    evolve(override(load_preset("digits"), {"execution.workers": 2}), tmp_path / "run")
    golden_runs.check(tmp_path / "run", "digits")
