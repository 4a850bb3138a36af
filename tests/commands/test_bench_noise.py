"""`nestevo-hw bench-noise` as a user and as a script sees it."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.models.checkpoint import DetectorSpec, save_detector
from nestevo_hw.models.zoo import example_inputs
from nestevo_hw.robustness.fidelity import normalise_statistics
from nestevo_hw.streams.synthetic import CLASSES

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
    assert "not accuracy" in document["note"]
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


def test_a_detector_of_the_embedded_classes_is_scored_by_day_and_night(tmp_path: Path) -> None:
    spec = DetectorSpec(architecture="fasterrcnn-tiny", classes=CLASSES, min_size=128, max_size=160)
    path = tmp_path / "tiny.safetensors"
    save_detector(spec.build(), spec, path)  # untrained: its score means nothing, only that it is taken
    arguments = ["fasterrcnn-tiny", "--weights", str(path), *FAST, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(bench_noise, arguments, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (document["task"], document["metric"]) == ("detection", "map50")
    assert {p["variant"] for p in document["points"]} == {"day", "night"}
    assert "4 rendered frames each by day and by night" in result.stdout
    assert "programmed" in result.stdout


def test_a_detector_of_other_classes_is_compared_with_itself(tmp_path: Path) -> None:
    spec = DetectorSpec(architecture="fasterrcnn-tiny", classes=("a", "b", "c", "d", "e"), min_size=96, max_size=128)
    path = tmp_path / "tiny.safetensors"
    model = spec.build()
    normalise_statistics(model.eval(), [example_inputs(model)])
    save_detector(model, spec, path)
    arguments = ["fasterrcnn-tiny", "--weights", str(path), *FAST, "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(bench_noise, arguments)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["metric"] == "map50_vs_digital"
    assert document["points"][0]["mean"] == pytest.approx(1.0)
    assert document["points"][1]["mean"] < 1.0


def test_perfect_io_keeps_only_the_errors_of_the_weights(net: str, tmp_path: Path) -> None:
    arguments = [net, *FAST, "--device", "ideal", "--out", str(tmp_path), "--json"]
    document = json.loads(CliRunner().invoke(bench_noise, arguments).stdout)
    assert document["perfect_io"]
    assert [p["mean"] for p in document["points"] if p["sweep"] == "time_s"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["resnet18", "--mu", "a,b"], 2, "need numbers separated by commas, got 'a,b'"),
        (["resnet18", "--mu", "-1"], 2, "need mu of 0 or more"),
        (["resnet18", "--repeats", "1"], 2, "1 is not in the range x>=2"),
        (["resnet18", "--device", "reram-wan", "--times", "60"], 2, "characterised only at 1, 86400, 172800 s"),
        (["resnet18", "--device", "ideal", "--adc-bits", "4"], 2, "ideal has no converters"),
        (["resnet18", "--adc-bits", "4.5"], 2, "whole number of bits"),
        (["resnet18", "--backend", "fold"], 2, "fold ignores converters"),
        (["nowhere"], 2, "unknown model 'nowhere'"),
    ],
)
def test_mistakes_are_found_before_the_work(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(bench_noise, [*arguments, "--quick", "--out", str(tmp_path / "out")])
    assert result.exit_code == code
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
