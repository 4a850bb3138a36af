"""`nestevo-hw map` as a user and as a script sees it."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from nestevo_hw.commands.map import map_command
from nestevo_hw.models.zoo import load_model


def test_json_keeps_the_contract() -> None:
    result = CliRunner().invoke(map_command, ["resnet18", "--tile", "512", "--no-program", "--json"])
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {"model", "device", "tile", "backend", "layers", "totals", "chip"} <= set(document)
    assert (document["model"], document["device"], document["tile"]) == ("resnet18", "pcm", [512, 512])
    assert document["chip"] is None
    assert {"analog_layers", "digital_layers", "tiles", "utilisation", "analog_weight_share"} <= set(document["totals"])
    assert document["totals"]["tiles"] == sum(layer["tiles"] for layer in document["layers"]) == 75
    for layer in document["layers"]:
        assert {"name", "kind", "placement", "reason", "shape", "tiles", "utilisation", "weight_error"} <= set(layer)
        assert layer["weight_error"] is None


def test_programming_measures_every_layer_and_repeats() -> None:
    arguments = ["fasterrcnn-tiny", "--device", "hermes", "--seed", "3", "--json"]
    first, second = (json.loads(CliRunner().invoke(map_command, arguments).stdout) for _ in range(2))
    assert first == second
    errors = [layer["weight_error"] for layer in first["layers"]]
    assert all(0.01 < error < 0.5 for error in errors)
    assert first["backend"] == "fold"


def test_table_names_what_stays_digital_and_why(tmp_path: Path) -> None:
    picture = tmp_path / "tiles.png"
    arguments = ["fasterrcnn-tiny", "--keep-digital", "rpn", "--tile", "128x64", "--plot", str(picture)]
    result = CliRunner().invoke(map_command, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.stderr
    assert "128 x 64 tiles" in result.stdout
    assert "rpn.head.cls_logits stays digital: kept digital as asked (rpn)" in result.stdout
    assert "backbone.body.stem.0" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    model, path = load_model("resnet18", num_classes=5), tmp_path / "weights.safetensors"
    save_file({k: v.clone() for k, v in model.state_dict().items()}, path)
    result = CliRunner().invoke(map_command, ["resnet18", "--weights", str(path), "--no-program", "--json"])
    document = json.loads(result.stdout)
    assert document["weights"] == f"weights of {path}"
    assert document["layers"][-1]["shape"] == [5, 512]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["yolo"], 2, "unknown model 'yolo'"),
        (["resnet18", "--tile", "0"], 2, "need a tile of 1 to 65536"),
        (["resnet18", "--tile", "big"], 2, "need a tile such as 256"),
        (["resnet18", "--device", "flash"], 2, "unknown device 'flash'"),
        (["resnet18", "--keep-digital", "lyer1"], 2, "did you mean 'layer1'"),
        (["resnet18", "--weights", "missing.safetensors"], 1, "no file missing.safetensors"),
    ],
)
def test_mistakes_give_one_line(arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(map_command, arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    machine = CliRunner().invoke(map_command, [*arguments, "--json"])
    assert message in json.loads(machine.stderr)["error"]["message"]


def test_weights_that_cannot_be_programmed_are_refused(tmp_path: Path) -> None:
    state = load_model("resnet18", num_classes=5).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file({**{k: v.clone() for k, v in state.items()}, "fc.weight": torch.zeros(5, 512)}, path)
    result = CliRunner().invoke(map_command, ["resnet18", "--weights", str(path)])
    assert result.exit_code == 1
    assert "fc.weight has only zero weights" in result.stderr
