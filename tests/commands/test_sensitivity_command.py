"""`nestevo-hw sensitivity` as a user and as a script sees it."""

import csv
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click import Command
from click.testing import CliRunner
from web_pages import read_page

from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.commands.map import map_command
from nestevo_hw.commands.sensitivity import sensitivity

NETS = """
from torch import nn
from nestevo_hw.models.faster_rcnn import TinyWidths, fasterrcnn_tiny

def classifier():
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )

def huge():
    net = classifier()
    for weight in net.parameters():
        weight.data *= 1e20
    return net

def constant():
    net = classifier()
    net[-1].bias.data[3] = 1e3
    return net

def detector():
    widths = TinyWidths(stem=8, stages=(8, 8, 8), fpn=8, box_hidden=8, box_feature=8, roi_bins=2)
    return fasterrcnn_tiny(4, min_size=64, max_size=80, widths=widths)
"""
FAST = ["--repeats", "2", "--frames", "40"]


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small networks of the user's own."""
    (tmp_path / "sensitivity_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "sensitivity_nets"


def _run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(sensitivity, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_classifiers_layers_are_measured_and_a_plan_found(nets: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document = _run(f"{nets}:classifier", *FAST, "--target-loss", "0.1", "--age", "86400", "--out", str(out))
    assert (document["metric"], document["analog"], document["backend"]) == ("top1_agreement", "pcm", "fused")
    assert (document["age_s"], document["repeats"], document["frames"]) == (86_400.0, 2, 40)
    assert document["digital"] == {"all": 1.0}
    assert [layer["name"] for layer in document["layers"]] == ["0", "5", "7"]
    assert sorted(layer["rank"] for layer in document["layers"]) == [1, 2, 3]
    for layer in document["layers"]:
        assert 5 < layer["weight_snr_db"] < 40
        assert layer["drop"]["ci95"][0] <= layer["drop"]["mean"] <= layer["drop"]["ci95"][1]
        assert len(layer["drop_by_scene"]["all"]) == 2
        assert layer["rescue"] is None
    plan = document["plan"]
    assert plan["target_loss"] == 0.1
    assert plan["reached"] == (plan["loss_bound95"] <= 0.1)
    assert plan["arguments"] == " ".join(f"--keep-digital {shlex.quote(name)}" for name in plan["keep_digital"])
    assert json.loads((out / "sensitivity.json").read_text()) == document
    assert (out / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    page = read_page(out / "sensitivity.html")
    for words in ("sensitivity_nets:classifier on pcm 1 d after programming",
                  "agreement with the digital model (first class) lost",
                  "2 independent programmings", plan["arguments"] or "everything may go"):  # fmt: skip
        assert words in page.text, words
    assert "mAP" not in page.text
    rows = list(csv.DictReader(io.StringIO((out / "sensitivity.csv").read_text())))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert {row["name"] for row in rows if row["keep_digital"] == "1"} == set(plan["keep_digital"])
    assert {row["name"]: float(row["drop"]) for row in rows} == {
        layer["name"]: pytest.approx(layer["drop"]["mean"], rel=1e-4) for layer in document["layers"]
    }


def test_the_same_seed_gives_the_same_document(nets: str, tmp_path: Path) -> None:
    def run(seed: str, name: str) -> dict[str, Any]:
        return _run(f"{nets}:classifier", *FAST, "--seed", seed, "--no-plan", "--out", str(tmp_path / name))

    assert run("3", "first") == run("3", "again") != run("4", "other")
    before = (tmp_path / "first" / "sensitivity.json").read_bytes()
    refused = CliRunner().invoke(sensitivity, [f"{nets}:classifier", *FAST, "--out", str(tmp_path / "first")])
    assert (refused.exit_code, "holds a sensitivity study already; choose another --out" in refused.stderr) == (2, True)
    assert (tmp_path / "first" / "sensitivity.json").read_bytes() == before


def test_map_takes_the_plan_as_it_is_printed(nets: str, tmp_path: Path) -> None:
    arguments = [f"{nets}:classifier", *FAST, "--target-loss", "0", "--complement", "--out", str(tmp_path)]
    result = CliRunner().invoke(sensitivity, arguments, env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("--keep-digital")]
    mapped = CliRunner().invoke(map_command, [f"{nets}:classifier", "--no-program", *shlex.split(line), "--json"])
    assert mapped.exit_code == 0, mapped.stderr
    kept = [entry["name"] for entry in json.loads(mapped.stdout)["layers"] if entry["placement"] == "digital"]
    assert "won" in result.stdout
    document = json.loads((tmp_path / "sensitivity.json").read_text())
    assert kept == document["plan"]["keep_digital"]
    assert all(-1.0 <= layer["rescue"]["mean"] <= 1.0 for layer in document["layers"])
    assert "one of 40 frames is worth 0.0250, more than the target of 0" in result.stdout
    assert "one of 40 frames is worth 0.0250" in result.stderr  # before the work
    assert "with 95 % confidence, target 0" in result.stdout


@pytest.mark.slow
def test_a_detector_is_scored_by_day_and_night(nets: str, tmp_path: Path) -> None:
    arguments = [f"{nets}:detector", "--repeats", "2", "--frames", "2", "--no-plan", "--tile", "64"]
    result = CliRunner().invoke(sensitivity, [*arguments, "--out", str(tmp_path)], env={"COLUMNS": "140"})
    assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "sensitivity.json").read_text())
    assert document["metric"] == "map50"
    assert document["plan"] is None
    assert set(document["digital"]) == {"day", "night"}
    assert len(document["layers"]) == 25
    errors = document["all_analog"]
    assert errors["model_output_error"] == pytest.approx(errors["predicted_output_error"], rel=0.5)
    for shown in ("backbone.body.stem.0", "error of the model's raw outputs", "written to"):
        assert shown in result.stdout
    assert "--keep-digital" not in result.stdout


def test_quick_scores_plans_alone_and_takes_a_target_that_its_frames_can_tell(nets: str, tmp_path: Path) -> None:
    arguments = [f"{nets}:classifier", "--quick", "--frames", "20", "--out", str(tmp_path)]
    result = CliRunner().invoke(sensitivity, arguments, env={"COLUMNS": "140"})
    assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "sensitivity.json").read_text())
    assert document["plan"]["target_loss"] == 1 / 20
    assert "target 0.0500: what one of 20 frames is worth" in result.stderr
    assert len(document["plan"]["loss_by_programming"]["all"]) == document["repeats"] == 3
    assert {layer["drop"] for layer in document["layers"]} == {None}
    errors = {layer["rank"]: layer["model_output_error"] for layer in document["layers"]}
    assert errors[1] > errors[2] > errors[3] > 0
    assert "model SNR dB" in result.stdout
    assert "first class) lost" not in result.stdout
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sensitivity.csv").read_text())))
    assert {row["drop"] for row in rows} == {""}
    assert document["plan"]["arguments"] in read_page(tmp_path / "sensitivity.html").text


def test_a_crossbar_without_errors_needs_no_digital_layer(nets: str, tmp_path: Path) -> None:
    document = _run(f"{nets}:classifier", *FAST, "--analog", "ideal", "--out", str(tmp_path))
    assert document["perfect_io"]
    assert document["backend"] == "fold"
    assert document["plan"]["keep_digital"] == []
    assert document["plan"]["reached"]


def test_a_model_that_names_one_class_is_warned_of_and_nothing_follows(nets: str, tmp_path: Path) -> None:
    arguments = [f"{nets}:constant", "--quick", "--size", "32x32", "--out", str(tmp_path)]
    result = CliRunner().invoke(sensitivity, arguments, env={"COLUMNS": "140"})
    assert result.exit_code == 0, result.stderr
    said = "the digital model names one class for 100% of the frames, so agreement with it says little"
    assert f"Warning: {said}" in result.stderr
    page = read_page(tmp_path / "sensitivity.html").text
    document = json.loads((tmp_path / "sensitivity.json").read_text())
    assert document["plan"]["keep_digital"] == []
    assert document["doubt"].startswith(said)
    for text in (result.stdout, page):
        assert said in text
        assert "everything may go onto the crossbar is not shown" in text
    result = CliRunner().invoke(sensitivity, [*arguments[:-1], str(tmp_path / "again"), "--no-plan"])
    assert (result.exit_code, "not shown" in result.stdout) == (0, False)


@pytest.mark.parametrize("command", [sensitivity, bench_noise])
def test_a_model_whose_outputs_overflow_is_refused_in_one_line(command: Command, nets: str, tmp_path: Path) -> None:
    arguments = [f"{nets}:huge", "--quick", "--size", "32x32", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1, result.stderr
    assert f"{nets}:huge: the model's own outputs are not finite on these inputs" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["resnet18", "--repeats", "1"], 2, "need a whole number from 2 to 1000, got 1"),
        (["resnet18", "--target-loss", "2"], 2, "need a number from 0 to 1, got 2"),
        (["resnet18", "--analog", "flash"], 2, "unknown device 'flash'"),
        (["resnet18", "--analog", "reram-wan", "--age", "60"], 2, "characterised only at 1, 86400, 172800 s"),
        (["resnet18", "--age", "-1"], 2, "need a number from 0 to 1e+10, got -1"),
        (["resnet18", "--tile", "big"], 2, "need a tile such as 256"),
        (["resnet18", "--backend", "fold"], 2, "fold ignores converters"),
        (["nowhere"], 2, "unknown model 'nowhere'"),
        (["resnet18", "--weights", "missing.safetensors"], 2, "no file missing.safetensors"),
    ],
)
def test_mistakes_are_found_before_the_work(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(sensitivity, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == code
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
