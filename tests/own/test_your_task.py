"""docs/your-task.md does what it says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import your_task_page as page
from click.testing import CliRunner

from nestevo_hw.cli import main
from nestevo_hw.evolution import run as runs
from nestevo_hw.evolution.config import load_config, override
from nestevo_hw.evolution.pretrain import pretrain
from nestevo_hw.evolution.pretrain_frames import embedded_source
from nestevo_hw.evolution.pretrain_job import PretrainConfig
from nestevo_hw.models.checkpoint import ModelSpec, load_model
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.teacher import Deploy, Program
from nestevo_hw.report.records.terminal import Accuracy
from nestevo_hw.scheduler.executor import LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.tasks import capabilities
from nestevo_hw.tasks import task as contract
from nestevo_hw.testing.tasks import TASK_CHECKS

STEPS = {"mutual.plan": 2, "distil.plan": 2, "generator": 10}
SHORT = {"pretrain": ["--steps", "3", "--terminal-steps", "2"], "evolve": ["--workers", "1"]}


def invoke(*words: str) -> str:
    """Standard output of a command that must not fail."""
    done = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def at_once(monkeypatch):
    """Tasks of a run in this process."""

    def executor(config, folder, *, on_event, **others):
        del config, folder, others
        return LocalExecutor(policy=KnapsackPolicy(), memory_bytes=4 * 10**9, workers=0, on_event=on_event)

    monkeypatch.setattr(runs, "open_executor", executor)


def finished(folder: Path) -> list[dict[str, object]]:
    """What terminals came to, without how long it took."""
    document = json.loads((folder / "runs" / "shapes" / "run.json").read_text())
    assert document["status"] == "complete"
    return [{k: v for k, v in terminal.items() if k != "lcp"} for terminal in document["summary"]["terminals"]]


def shortened(text: str) -> str:
    """A configuration of the page with trainings of two steps."""
    short = "".join(f"[{section}]\nsteps = {steps}\n" for section, steps in STEPS.items())
    return f"{text}\n{short}[gate]\nmargin = 1.0\ntotal_margin = 1.0\n"


@pytest.mark.slow
def test_a_classifier_of_ones_own_evolves_in_workers_and_goes_on_after_a_kill(shown: Path, request) -> None:
    text = (shown / "shapes.toml").read_text()
    (shown / "shapes.toml").write_text(shortened(text).replace("min_samples = 4", "min_samples = 4\ngamma = 0.0"))
    made, checked, evolved = page.commands()[:3]
    invoke(*made, *SHORT["pretrain"])
    assert "nothing wrong found: 2 terminals, 1 window" in invoke(*checked)
    invoke(*evolved, *SHORT["evolve"])
    run, summary = read_run(shown / "runs" / "shapes"), finished(shown)
    assert run.of(Program)[0].tiles
    assert run.of(Deploy)[0].accepted  # the mean of the intermediates was programmed
    stages = {(a.scene, a.stage) for a in run.of(Accuracy) if a.model == a.scene}
    assert stages >= {("north", "before"), ("north", "after"), ("south", "after")}
    terminal, spec = load_model(shown / "checkpoints" / "small-m2.safetensors")
    assert (spec.architecture, spec.classes) == ("nets:small", page.SHAPES)
    assert (terminal[9].out_features, terminal[4].out_channels) == (32, 16)  # kept, and pruned by half
    for result in ("merge", "distil", "evaluate"):
        for file in (shown / "runs" / "shapes" / "results").glob(f"*{result}*"):
            file.unlink()
    request.getfixturevalue("at_once")
    invoke("evolve", "--resume", "runs/shapes")
    assert finished(shown) == summary


@pytest.mark.usefixtures("at_once")
@pytest.mark.filterwarnings("ignore:.*legacy TorchScript-based ONNX export.*")
@pytest.mark.slow
def test_a_detector_of_ones_own_evolves_and_passes_the_suite(shown: Path) -> None:
    plan = PretrainConfig(task="mytask:GridTask", variants=1, frames_per_scene=1)
    plan = replace(plan, teacher=replace(plan.teacher, steps=2), terminal=replace(plan.terminal, steps=1))
    source = embedded_source("mytask:GridTask", seed=0, variants=1, frames_per_scene=1)
    spec = ModelSpec(architecture="mytask:Grid", classes=source.classes, min_size=128, max_size=160)
    pretrain(spec, source, shown / "grid", plan, device="cpu", workers=0)
    config = load_config(shown / "grid.toml")
    changes = {"method": "NestEvo", "labels.confirm": False, "generator.enabled": False, "drift.gamma": 0.0}
    changes |= {"window.count": 1, "window.upload_frames": 8, "window.test_frames": 6, "mutual.plan.steps": 2}
    changes |= {"distil.plan.steps": 2, "reference.places": ["campus"], "reference.frames_per_segment": 4}
    summary = runs.evolve(override(config, changes), shown / "run")
    assert summary["failures"] == 0
    assert summary["metric"] == "mAP@0.50"
    import test_mytask  # the page's own test of it

    for check in TASK_CHECKS:
        test_mytask.test_my_task(check, shown)


def test_the_tables_name_every_verb_and_capability() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    verbs = {name for name, value in vars(contract.VisionTask).items() if callable(value) and name[0] != "_"}
    facts = set(contract.VisionTask.__annotations__)
    protocols = {
        name for name, value in vars(capabilities).items()
        if getattr(value, "_is_protocol", False) and value.__module__ == capabilities.__name__
    }  # fmt: skip
    assert {name for name in verbs | facts | protocols if f"`{name}`" not in text} == set()


@pytest.mark.slow
def test_every_command_of_the_page_as_it_stands(shown: Path) -> None:
    for words in page.commands():
        invoke(*words)
    before, after = (
        [a.score for a in read_run(shown / "runs" / "shapes").of(Accuracy) if a.scene == a.model and a.stage == stage]
        for stage in ("before", "after")
    )
    assert sum(after) >= sum(before) - 0.1
    assert json.loads((shown / "runs" / "shapes" / "run.json").read_text())["status"] == "complete"
