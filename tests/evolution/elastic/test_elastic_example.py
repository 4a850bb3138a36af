"""`examples/elastic.toml`, shortened: paths are searched, trained and chosen again; killed, it ends the same."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nestevo_hw.base.errors import StoppedError
from nestevo_hw.evolution.config import parse_config
from nestevo_hw.evolution.run import evolve
from nestevo_hw.models.checkpoint import load_model, read_spec
from nestevo_hw.models.elastic.store import load_supernet
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records import Accuracy, Elastic
from tests.evolution.elastic.test_elastic_build import CONFIG, plan

EXAMPLES = Path(__file__).parents[3] / "examples"
SHORT = {
    "window": {"upload_frames": 24, "test_frames": 40}, "reference": {"frames_per_segment": 12},
    "drift": {"gamma": 0.0, "min_samples": 1}, "gate": {"margin": 1.0, "total_margin": 1.0}, "generator": {"steps": 10},
    "mutual": {"plan": {"steps": 3, "batch_size": 8}}, "distil": {"plan": {"steps": 3, "batch_size": 8}},
    "trigger": {"mode": "off"}, "execution": {"executor": "inline", "workers": 1},
    "elastic": {"latency": "macs", "evaluations": 36, "frames": 24, "candidates": 3, "margin": 0.0},
}  # fmt: skip


def shortened(name, supernet, **elastic):
    document = tomllib.loads((EXAMPLES / name).read_text())
    for section, values in SHORT.items():
        for key, value in values.items():
            table = document.setdefault(section, {})
            table[key] = {**table.get(key, {}), **value} if isinstance(value, dict) else value
    document["elastic"] |= {"supernet": str(supernet), **elastic}
    return parse_config(document, source=name)


@pytest.fixture(scope="module")
def supernet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("supernet")
    plan(folder, config=replace(CONFIG, rates=(0.5,))).run()
    return folder


def told(folder):
    """Choices and accuracies of a run."""
    run = read_run(folder)
    return run.of(Elastic), [(a.window, a.scene, a.model, a.stage, a.score) for a in run.of(Accuracy)]


@pytest.mark.slow
def test_the_example_runs_and_a_killed_one_ends_the_same(supernet, tmp_path):
    config = shortened("elastic.toml", supernet)
    evolve(config, tmp_path / "whole")
    done = []

    def kill_in_time(task):
        done.append(task.kind)
        if done.count("choose-path-again") == 1 or (len(done) == 1 and not (tmp_path / "again").exists()):
            (tmp_path / "again").touch()
            raise KeyboardInterrupt

    for resume in (False, True):
        with pytest.raises(StoppedError):
            evolve(config, tmp_path / "killed", resume=resume, on_task=kill_in_time)
        done.clear()
    evolve(config, tmp_path / "killed", resume=True)
    choices, scores = told(tmp_path / "whole")
    assert told(tmp_path / "killed") == (choices, scores)
    assert {c.stage for c in choices} == {"search", "before", "after"}
    assert all(c.share <= c.budget for c in choices)
    assert len({c.path for c in choices}) > 1
    last = {c.terminal: c.path for c in choices}
    for name in ("counter", "belt"):
        files = [tmp_path / run / "windows" / "001" / name for run in ("whole", "killed")]
        for file in ("terminal.safetensors", "supernet.safetensors"):
            one, other = (load_model(f / file)[0] if "terminal" in file else load_supernet(f / file)[0] for f in files)
            assert all(torch.equal(t, other.state_dict()[key]) for key, t in one.state_dict().items())
        assert read_spec(files[0] / "terminal.safetensors").blocks is not None
        assert last[name]
    assert "Which path each elastic terminal took" in (tmp_path / "whole" / "report.html").read_text()
