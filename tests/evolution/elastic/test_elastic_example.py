"""`examples/elastic.toml`, shortened: paths are searched, trained and chosen again; killed, it ends the same."""

import tomllib
from pathlib import Path

import pytest
import torch

from nestevo_hw.base.errors import StoppedError
from nestevo_hw.evolution.config import parse_config
from nestevo_hw.evolution.run import evolve
from nestevo_hw.models.checkpoint import load_model, pretrained_path, read_spec
from nestevo_hw.models.elastic.store import load_supernet, save_supernet
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.terminal import Accuracy, Elastic
from nestevo_hw.streams.digits import DigitStream

EXAMPLES = Path(__file__).parents[3] / "examples"
SHORT = {
    "window": {"upload_frames": 24, "test_frames": 40}, "reference": {"frames_per_segment": 6},
    "drift": {"gamma": 0.0, "min_samples": 1}, "gate": {"margin": 1.0, "total_margin": 1.0}, "generator": {"steps": 10},
    "mutual": {"plan": {"steps": 3, "batch_size": 8}}, "distil": {"plan": {"steps": 3, "batch_size": 8}},
    "teacher": {"analog": "digital"}, "trigger": {"mode": "off"}, "execution": {"executor": "inline", "workers": 1},
    "elastic": {"latency": "macs", "evaluations": 36, "frames": 24, "candidates": 3, "margin": 0.0},
}  # fmt: skip


def shortened(name, supernet):
    document = tomllib.loads((EXAMPLES / name).read_text())
    for section, values in SHORT.items():
        for key, value in values.items():
            table = document.setdefault(section, {})
            table[key] = {**table.get(key, {}), **value} if isinstance(value, dict) else value
    document["elastic"]["supernet"] = str(supernet)
    return parse_config(document, source=name)


@pytest.fixture(scope="module")
def supernet(tmp_path_factory):
    folder, (base, spec) = tmp_path_factory.mktemp("supernet"), load_model(pretrained_path("digits-mobilenet"))
    frames = DigitStream(name="a", place="campus", seed=0, role="training").read(range(24))
    made = expand(base, frames.images.float() / 255, spans=(2,), rates=(0.5,))
    save_supernet(made, spec, folder / "supernet.safetensors")
    return folder


def told(folder):
    """Choices and accuracies of a run."""
    run = read_run(folder)
    return run.of(Elastic), [(a.window, a.scene, a.model, a.stage, a.score) for a in run.of(Accuracy)]


def test_both_examples_are_configurations():
    assert shortened("elastic.toml", "made").elastic_terminals == ["counter", "belt"]
    assert shortened("elastic-compare.toml", "made").elastic_terminals == []


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
    for name in ("counter", "belt"):
        last = [tmp_path / run / "windows" / "001" / name for run in ("whole", "killed")]
        assert read_spec(last[0] / "terminal.safetensors").blocks is not None
        for load, file in ((load_model, "terminal.safetensors"), (load_supernet, "supernet.safetensors")):
            one, other = (load(folder / file)[0].state_dict() for folder in last)
            assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    assert "Which path each elastic terminal took" in (tmp_path / "whole" / "report.html").read_text()
