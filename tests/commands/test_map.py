"""`nestevo-hw map` as a user and as a script sees it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.commands.map import map_command
from nestevo_hw.crossbar.chips.chip_file import chip_text
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.models.zoo import load_model


def test_json_keeps_the_contract() -> None:
    result = CliRunner().invoke(map_command, ["resnet18", "--tile", "512", "--no-program", "--json"])
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {"model", "analog", "tile", "backend", "layers", "totals", "chip"} <= set(document)
    assert (document["model"], document["analog"], document["tile"]) == ("resnet18", "pcm", [512, 512])
    assert document["chip"] is None
    assert {"analog_layers", "digital_layers", "tiles", "utilisation", "analog_weight_share"} <= set(document["totals"])
    assert document["totals"]["tiles"] == sum(layer["tiles"] for layer in document["layers"]) == 75
    for layer in document["layers"]:
        assert {"name", "kind", "placement", "reason", "shape", "tiles", "utilisation", "weight_error"} <= set(layer)
        assert layer["weight_error"] is None


def test_programming_measures_every_layer_and_repeats() -> None:
    arguments = ["fasterrcnn-tiny", "--analog", "hermes", "--seed", "3", "--json"]
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
        (["resnet18", "--analog", "flash"], 2, "unknown device 'flash'"),
        (["resnet18", "--keep-digital", "lyer1"], 2, "did you mean 'layer1'"),
        (["resnet18", "--weights", "missing.safetensors"], 2, "no file missing.safetensors"),
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


def test_a_layer_of_zeros_is_mapped_and_has_no_error(tmp_path: Path) -> None:
    state = load_model("resnet18", num_classes=5).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file({**{k: v.clone() for k, v in state.items()}, "fc.weight": torch.zeros(5, 512)}, path)
    result = CliRunner().invoke(map_command, ["resnet18", "--weights", str(path), "--json"])
    assert result.exit_code == 0
    (head,) = (layer for layer in json.loads(result.stdout)["layers"] if layer["name"] == "fc")
    assert head["placement"] == "analog"
    assert head["weight_error"] is None
    table = CliRunner().invoke(map_command, ["resnet18", "--weights", str(path)], env={"COLUMNS": "140"}).stdout
    assert next(line for line in table.splitlines() if line.strip().startswith("fc ")).split()[-1] == "-"


CHIP = ["fasterrcnn-tiny", "--no-program", "--chip", "hermes", "--size", "96x128", "--frames", "5", "--json"]


def test_chip_keeps_the_contract() -> None:
    result = CliRunner().invoke(map_command, CHIP)
    assert result.exit_code == 0, result.stderr
    chip = json.loads(result.stdout)["chip"]
    assert {"name", "interval_s", "total_s", "energy_j_per_frame", "chips", "programming_s"} <= set(chip)
    assert {"programming_j", "notes", "estimates", "figures", "layers", "workload"} <= set(chip)
    assert (chip["name"], chip["frames"], chip["size"], chip["chips_used"]) == ("hermes", 5, [96, 128], 1)
    assert chip["status"] == "modelled"
    assert chip["total_s"] > chip["load_s"] + 4 * chip["interval_s"]
    assert chip["energy_j_per_frame"] == pytest.approx(sum(e for e in chip["energy_parts_j"].values() if e is not None))
    assert chip["programming"]["lifetime_years"]["24"] > chip["programming"]["lifetime_years"]["144"]
    assert all(figure["kind"] and (figure["source"] or figure["note"]) for figure in chip["figures"].values())
    named = {estimate["name"]: estimate for estimate in chip["estimates"]}
    assert named["pipeline"]["total_s"] == chip["total_s"]
    assert named["pipeline"]["first_frame_s"] == chip["first_frame_s"] == chip["frame_by_frame_s"]
    assert chip["total_s"] == pytest.approx(chip["load_s"] + chip["first_frame_s"] + 4 * chip["interval_s"])
    assert chip["energy_range_j"][0] < chip["energy_j_per_frame"] == pytest.approx(chip["energy_range_j"][1])
    assert 0 < chip["utilisation"]["cells"] <= min(chip["utilisation"]["rows"], chip["utilisation"]["columns"]) < 1
    assert (chip["digital"]["macs"], chip["digital"]["parts"], chip["differences"]) == (0, [], [])
    four, one = chip["modes"]
    assert [(four["name"], four["simulated"]), (one["name"], one["simulated"])] == [
        ("four-phase", True), ("one-phase", False),
    ]  # fmt: skip
    assert chip["mode"] == "four-phase"
    assert four["interval_s"] == chip["interval_s"] > 3.9 * one["interval_s"]
    assert (four["peak_tops"], one["peak_tops"]) == (16.1, 63.1)
    assert named["mode-one-phase"]["interval_s"] == one["interval_s"]
    fast = json.loads(CliRunner().invoke(map_command, [*CHIP, "--chip-mode", "one-phase"]).stdout)["chip"]
    assert (fast["mode"], fast["interval_s"]) == ("one-phase", one["interval_s"])
    assert [entry["item"] for entry in fast["differences"]] == ["reading mode"]


def test_a_chip_brings_the_cell_that_accuracy_is_simulated_with() -> None:
    arguments = ["digits-cnn", "--no-program", "--chip", "isaac", "--size", "28x28"]
    document = json.loads(CliRunner().invoke(map_command, [*arguments, "--json"]).stdout)
    assert (document["analog"], document["tile"], document["cells_per_weight"]) == ("reram-wan", [128, 128], 8)
    assert document["totals"]["tiles"] == document["chip"]["arrays"]
    assert [entry["item"] for entry in document["chip"]["differences"]] == ["devices of a weight"]
    other = [*arguments, "--analog", "pcm", "--tile", "64"]
    document = json.loads(CliRunner().invoke(map_command, [*other, "--json"]).stdout)
    assert (document["analog"], document["tile"], document["cells_per_weight"]) == ("pcm", [64, 64], 1)
    told = [entry["note"] for entry in document["chip"]["differences"]]
    shown = CliRunner().invoke(map_command, other, env={"COLUMNS": "300"}).stdout
    assert [note for note in told if f"- {note}" in shown] == told
    assert [note.split(":")[0] for note in told] == ["cells", "tile", "bits of a cell", "devices of a weight"]


def test_the_digital_share_is_shown() -> None:
    arguments = ["fasterrcnn-tiny", "--no-program", "--chip", "hermes", "--size", "96x128", "--keep-digital", "rpn"]
    digital = json.loads(CliRunner().invoke(map_command, [*arguments, "--json"]).stdout)["chip"]["digital"]
    assert {part["name"] for part in digital["parts"]} == {
        "rpn.head.conv.0.0", "rpn.head.cls_logits", "rpn.head.bbox_pred",
    }  # fmt: skip
    assert all(part["reason"] == "kept digital as asked (rpn)" for part in digital["parts"])
    assert digital["macs"] == sum(part["macs"] for part in digital["parts"])
    shown = CliRunner().invoke(map_command, arguments, env={"COLUMNS": "300"}).stdout
    assert f"Digital: 3 parts with {digital['macs_share'] * 100:.1f} % of the multiply-accumulates" in shown


def test_table_6_of_the_paper_on_the_command_line() -> None:
    arguments = ["fasterrcnn-resnet50-fpn", "--no-program", "--chip", "isaac", "--size", "720x1280", "--json"]
    chip = json.loads(CliRunner().invoke(map_command, arguments).stdout)["chip"]
    assert chip["total_s"] == pytest.approx(20.83, rel=0.15)
    assert (chip["chips"], chip["chips_used"], chip["passes"]) == (2, 1, 2)
    assert any("11.72 MFLOPS" in note for note in chip["notes"])
    more = json.loads(CliRunner().invoke(map_command, [*arguments, "--chips", "2"]).stdout)["chip"]
    assert more["passes"] == 1
    assert more["interval_s"] < chip["interval_s"]


def test_chip_for_people_with_a_picture_and_a_file_of_ones_own(tmp_path: Path) -> None:
    own, picture = tmp_path / "mine.toml", tmp_path / "tiles.png"
    own.write_text(chip_text("generic").replace('name = "generic"', 'name = "mine"'))
    arguments = ["fasterrcnn-tiny", "--no-program", "--chip", str(own), "--size", "96x128", "--plot", str(picture)]
    result = CliRunner().invoke(map_command, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.stderr
    for words in ("balanced pipeline on one chip", "modelled", "RTX 3080", "Energy:", "A new model:", "tiles-chip.png"):
        assert words in result.stdout
    assert (tmp_path / "tiles-chip.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--chip", "isac"], 2, "unknown chip 'isac'"),
        (["--chip", "rtx-3080"], 2, "rtx-3080 is no crossbar chip"),
        (["--chips", "2"], 2, "--chips is for a chip; name one with --chip, or leave --chips out"),
        (["--adapters", "8"], 2, "--adapters is for a chip; name one with --chip, or leave --adapters out"),
        (["--frames", "9"], 2, "--frames is for a chip; name one with --chip, or leave --frames out"),
        (["--chip", "missing.toml"], 2, "no file missing.toml; check the path"),
        (["--chip", "isaac", "--size", "720"], 2, "need a size as HEIGHTxWIDTH"),
        (["--chip-mode", "one-phase"], 2, "--chip-mode is for a chip"),
        (["--chip", "isaac", "--chip-mode", "one-phase"], 2, "no reading mode 'one-phase'; it has only one"),
    ],
)
def test_mistakes_about_chips_give_one_line(arguments: list[str], code: int, message: str) -> None:
    result = CliRunner().invoke(map_command, ["fasterrcnn-tiny", "--no-program", *arguments])
    assert result.exit_code == code
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_cells_of_a_weight_change_tiles_and_error() -> None:
    def run(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(map_command, ["fasterrcnn-tiny", "--json", *arguments])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    plain, paired, sliced = run(), run("--pairs", "3"), run("--weight-bits", "8", "--cell-bits", "2")
    assert (plain["cells_per_weight"], sliced["cells_per_weight"]) == (1, 4)
    assert paired["totals"]["tiles"] == plain["totals"]["tiles"] < sliced["totals"]["tiles"]
    assert paired["totals"]["weight_error"] < plain["totals"]["weight_error"]
    for arguments in (["--pairs", "2", "--analog", "hermes"], ["--weight-bits", "8"]):
        result = CliRunner().invoke(map_command, ["fasterrcnn-tiny", *arguments])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_age_is_that_of_the_weight_errors() -> None:
    def error(*more: str) -> float:
        result = CliRunner().invoke(map_command, ["digits-cnn", "--analog", "pcm", "--json", *more])
        assert result.exit_code == 0, result.stderr
        return float(json.loads(result.stdout)["totals"]["weight_error"])

    teacher = AnalogTeacher(load_model("digits-cnn"), device=find_preset("pcm", perfect_io=True))
    teacher.program()
    teacher.age(86_400.0)
    errors, report = teacher.weight_errors(), teacher.report
    assert error("--age", "86400") == report.with_errors(errors).totals.weight_error
    assert error() == report.totals.weight_error < error("--age", "86400")
    shown = CliRunner().invoke(map_command, ["digits-cnn", "--age", "3600"])
    assert "RMS 3600 s after programming (simulated)" in shown.stdout


OWN = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(3, 8, 3, stride=4), nn.Conv2d(8, 8, 3, groups=8)
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.read, self.head = nn.Linear(8, 8), nn.LazyLinear(5)

    def forward(self, x):
        tokens = self.depthwise(self.conv(x)).flatten(2).transpose(1, 2)
        return self.head(F.linear(self.attention(tokens), self.read.weight, self.read.bias).mean(1))


def net():
    return Net()
"""


def test_map_and_the_noise_benchmark_agree_on_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_layers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ["own_layers:net", "--tile", "64", "--json"]
    result = CliRunner().invoke(map_command, arguments)
    assert result.exit_code == 0, result.stderr
    layers = {layer["name"]: layer for layer in json.loads(result.stdout)["layers"]}
    assert {name for name, layer in layers.items() if layer["placement"] == "digital"} == {"depthwise"}
    assert "--grouped" in layers["depthwise"]["reason"]
    assert {"attention.self_attn.in_proj", "attention.linear1", "read.product", "head"} <= set(layers)
    grouped = CliRunner().invoke(map_command, [*arguments, "--grouped", "--no-program", "--chip", "hermes"])
    entry = next(layer for layer in json.loads(grouped.stdout)["layers"] if layer["name"] == "depthwise")
    assert (entry["tiles"], entry["groups"], entry["utilisation"]) == (2, 8, 72 / (2 * 64 * 64))
    options = ["--quick", "--times", "3600", "--mu", "0.1", "--frames", "4", "--repeats", "2"]
    bench = CliRunner().invoke(bench_noise, [*arguments, "--grouped", *options, "--out", str(tmp_path / "bench")])
    assert bench.exit_code == 0, bench.stderr


def test_an_age_needs_programmed_tiles() -> None:
    result = CliRunner().invoke(map_command, ["resnet18", "--no-program", "--age", "60"])
    assert result.exit_code == 2
    assert result.stderr == "Error: --age is for programmed tiles; leave --no-program or --age out\n"
