"""`nestevo-hw bench-noise` as a user and as a script sees it."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.models.checkpoint import ModelSpec, save_model
from nestevo_hw.models.inputs import example_inputs
from nestevo_hw.streams.rendered.synthetic import CLASSES
from nestevo_hw.studies.noise.bench import Scores
from nestevo_hw.studies.noise.fidelity import normalise_statistics
from nestevo_hw.studies.noise.journal import ScoreJournal
from nestevo_hw.studies.noise.plan import Trial
from nestevo_hw.studies.noise.sweeps import SWEEPS

NET = """
import torch
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(256, 10),
    )
"""
FAST = ["--repeats", "2", "--frames", "4", "--mu", "0,0.05", "--times", "0,86400"]


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small classifier of the user's own."""
    (tmp_path / "bench_noise_net.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "bench_noise_net:build"


def test_a_classifier_is_compared_with_itself(net: str, tmp_path: Path) -> None:
    arguments = [net, *FAST, "--adc-bits", "4", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(bench_noise, arguments)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["task"], document["metric"]) == ("classification", "top1_agreement")
    assert "made-up images of 3 x 64 x 64" in document["note"]
    assert "by --data" in document["note"]
    assert document["weights"] == "made by the factory"
    points = document["points"]
    assert [(p["sweep"], p["value"]) for p in points] == [
        ("mu", 0.0), ("mu", 0.05), ("time_s", 0.0), ("time_s", 86_400.0), ("adc_bits", 4.0),
    ]  # fmt: skip
    for point in points:
        assert {"sweep", "value", "unit", "variant", "mean", "ci95", "repeats"} <= set(point)
        assert point["repeats"] == 2
        assert point["ci95"][0] <= point["mean"] <= point["ci95"][1]
    assert points[0]["mean"] == 1.0
    assert json.loads((tmp_path / "results.json").read_text()) == document
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [row["sweep"] for row in rows] == [p["sweep"] for p in points]
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert "<h1>" in (tmp_path / "report.html").read_text()


def test_sweeps_are_named_and_all_leaves_out_what_the_device_lacks(net: str, tmp_path: Path) -> None:
    arguments = [net, "--repeats", "2", "--frames", "4", "--out", str(tmp_path / "a"), "--json"]
    result = CliRunner().invoke(bench_noise, [*arguments, "--sweep", "tile=8,16", "--sweep", "analog=pcm,hermes"])
    document = json.loads(result.stdout)
    assert [p["value"] for p in document["points"]] == [8.0, 16.0, "pcm", "hermes"]
    arguments[-2] = str(tmp_path / "b")
    result = CliRunner().invoke(bench_noise, [*arguments, "--all", "--quick", "--perfect-io"])
    document = json.loads(result.stdout)
    assert {p["sweep"] for p in document["points"]} == {"mu", "time_s", "stuck_cells", "tile", "analog"}
    assert len(document["left_out"]) == 7


def test_a_detector_reports_three_metrics(tmp_path: Path) -> None:
    arguments = ["fasterrcnn-tiny", "--mu", "0.05", "--repeats", "2", "--frames", "2", "--out", str(tmp_path), "--json"]
    document = json.loads(CliRunner().invoke(bench_noise, arguments).stdout)
    assert document["metrics"] == ["map50", "map75", "map"]
    for point in document["points"]:
        assert list(point["metrics"]) == document["metrics"]
        assert point["metrics"]["map50"]["mean"] == point["mean"]
        assert point["metrics"]["map75"]["mean"] <= point["mean"]


def test_ctrl_c_says_how_to_go_on(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [net, *FAST, "--out", str(tmp_path)]
    keep = ScoreJournal.keep

    def interrupted(journal: ScoreJournal, trial: Trial, scores: Scores) -> None:
        keep(journal, trial, scores)
        if trial.sweep == "time_s":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ScoreJournal, "keep", interrupted)
        result = CliRunner().invoke(bench_noise, arguments)
    assert result.exit_code == 130
    assert result.stderr.count("\n") == 1
    assert "run the same command with --resume to go on" in result.stderr
    refused = CliRunner().invoke(bench_noise, arguments)
    assert (refused.exit_code, "add --resume" in refused.stderr) == (2, True)
    resumed = CliRunner().invoke(bench_noise, [*arguments, "--resume", "--json"])
    assert resumed.exit_code == 0, resumed.stderr
    whole = CliRunner().invoke(bench_noise, [*arguments[:-1], str(tmp_path / "whole"), "--json"])
    assert json.loads(resumed.stdout) == json.loads(whole.stdout)


def test_the_help_names_every_sweep() -> None:
    text = " ".join(CliRunner().invoke(bench_noise, ["--help"]).stdout.split())
    assert f"Names: {', '.join(SWEEPS)}." in text


def test_benchmarks_are_compared(net: str, tmp_path: Path) -> None:
    for device in ("pcm", "hermes"):
        arguments = [net, *FAST, "--analog", device, "--out", str(tmp_path / device)]
        assert CliRunner().invoke(bench_noise, arguments).exit_code == 0
    folders = [str(tmp_path / device) for device in ("pcm", "hermes")]
    out = tmp_path / "both"
    result = CliRunner().invoke(bench_noise, ["--compare", *folders, "--out", str(out)], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.stderr
    assert f"{net} on hermes" in result.stdout
    assert {path.suffix for path in out.iterdir()} == {".csv", ".png", ".html", ".json"}


def test_a_detector_of_the_embedded_classes_is_scored_by_day_and_night(tmp_path: Path) -> None:
    spec = ModelSpec(architecture="fasterrcnn-tiny", classes=CLASSES, min_size=128, max_size=160)
    path = tmp_path / "tiny.safetensors"
    save_model(spec.build(), spec, path)  # untrained: its score means nothing, only that it is taken
    arguments = ["fasterrcnn-tiny", "--weights", str(path), *FAST, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(bench_noise, arguments, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (document["task"], document["metric"]) == ("detection", "map50")
    assert {p["variant"] for p in document["points"]} == {"day", "night"}
    assert "4 rendered frames each by day and by night" in result.stdout
    assert "programmed" in result.stdout


def test_a_detector_of_other_classes_is_compared_with_itself(tmp_path: Path) -> None:
    spec = ModelSpec(architecture="fasterrcnn-tiny", classes=("a", "b", "c", "d", "e"), min_size=96, max_size=128)
    path = tmp_path / "tiny.safetensors"
    model = spec.build()
    normalise_statistics(model.eval(), [example_inputs(model)])
    save_model(model, spec, path)
    arguments = ["fasterrcnn-tiny", "--weights", str(path), *FAST, "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(bench_noise, arguments)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["metric"] == "map50_vs_digital"
    assert document["points"][0]["mean"] == pytest.approx(1.0)
    assert document["points"][1]["mean"] < 1.0


def test_perfect_io_keeps_only_the_errors_of_the_weights(net: str, tmp_path: Path) -> None:
    arguments = [net, *FAST, "--analog", "ideal", "--out", str(tmp_path), "--json"]
    document = json.loads(CliRunner().invoke(bench_noise, arguments).stdout)
    assert document["perfect_io"]
    assert [p["mean"] for p in document["points"] if p["sweep"] == "time_s"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["resnet18", "--mu", "a,b"], 2, "sweep mu: need numbers separated by commas, got 'a,b'"),
        (["resnet18", "--mu", "-1"], 2, "sweep mu: need a number from 0 to 1"),
        (["resnet18", "--repeats", "1"], 2, "need a whole number from 2 to 1000, got 1"),
        (["resnet18", "--analog", "reram-wan", "--times", "60"], 2, "characterised only at 1, 86400, 172800 s"),
        (["resnet18", "--analog", "ideal", "--adc-bits", "4"], 2, "ideal has no converters"),
        (["resnet18", "--adc-bits", "4.5"], 2, "adc_bits: need a whole number, got 4.5"),
        (["resnet18", "--backend", "fold"], 2, "fold ignores converters"),
        (["nowhere"], 2, "unknown model 'nowhere'"),
        (["resnet18", "--sweep", "sharpness"], 2, "unknown sweep 'sharpness'"),
        (["resnet18", "--sweep", "mu=0.1", "--mu", "0.2"], 2, "sweep mu is named twice"),
        (["resnet18", "fasterrcnn-tiny"], 2, "expected one MODEL but got 2"),
        (["resnet18", "--students"], 2, "no trained detector of the embedded classes"),
        (["resnet18", "--resume"], 2, "to go on in; leave --resume out"),
        (["fasterrcnn-tiny", "--noise-aware", "0"], 2, "need a number above 0 and up to 1, got 0"),
        (["fasterrcnn-tiny", "--students", "--student", "nobody"], 2, "no checkpoint 'nobody'"),
        (["--compare", "nowhere", "elsewhere"], 1, "no results.json in nowhere"),
    ],
)
def test_mistakes_are_found_before_the_work(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(bench_noise, [*arguments, "--quick", "--out", str(tmp_path / "out")])
    assert result.exit_code == code
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
