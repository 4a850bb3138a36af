"""`nestevo-hw harden` as a user and as a script sees it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from sklearn.datasets import load_digits

from nestevo_hw.base.learned_ranges import learned_ranges
from nestevo_hw.base.tensors import read_header
from nestevo_hw.cli import main
from nestevo_hw.crossbar.hardening import CrossbarTraining
from nestevo_hw.evolution import halfway
from nestevo_hw.models.checkpoint import load_model

NETS = """
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

def attention():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.Sequential(nn.Flatten(1, 2), nn.Linear(8, 8), layer, nn.Flatten(), nn.Linear(64, 10))
"""
NOISY = """
title = "a noisy device"
source = "made up"
leaves_out = "all that is real"
drift_compensation = true
model = "aihwkit.inference:PCMLikeNoiseModel"
[model_arguments]
prog_noise_scale = 4.0
[conductance]
g_max_us = 25.0
[converters]
output_noise = 0.2
"""
SHORT = ("--steps", "6", "--seeds", "1", "--repeats", "2", "--frames", "20", "--samples", "20", "--batch-size", "4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own networks, device and labelled digits."""
    (tmp_path / "hardened_nets.py").write_text(NETS)
    (tmp_path / "noisy.toml").write_text(NOISY)
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", x=digits.images.astype(np.float32)[:, None] / 16, y=digits.target)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def harden(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["harden", *words], env={"COLUMNS": "160"})
    assert done.exit_code == code, done.output
    return done


def trained_net() -> None:
    """Weights of the user's own network in net.pt."""
    import hardened_nets

    torch.manual_seed(0)
    with np.load("digits.npz") as found:
        x, y = torch.from_numpy(found["x"]), torch.from_numpy(found["y"])
    model = hardened_nets.net()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    torch.save(model.state_dict(), "net.pt")


@pytest.mark.slow
def test_on_a_noisy_device_the_hardened_model_is_better(folder: Path) -> None:
    del folder
    done = harden("digits-cnn", "--analog", "noisy.toml", "--steps", "50", "--seeds", "1", "--repeats", "10",
                  "--frames", "100", "--batch-size", "16", "--out", "out")  # fmt: skip
    document = json.loads(Path("out/results.json").read_text())
    (gain,) = document["gains"]
    assert gain["aged"]["ci95"][0] > 0.0  # paired by programming, 95 %
    assert gain["won_back"]["mean"] > 0.2
    assert "hardened" in done.stdout
    assert "won back" in done.stdout
    assert Path("out/results.png").read_bytes().startswith(b"\x89PNG")
    assert Path("out/hardened.safetensors").read_bytes() == Path("out/models/hardened-0.safetensors").read_bytes()
    assert not list(Path("out").rglob("unfinished*"))
    model, spec = load_model(Path("out/hardened.safetensors"))  # as `evolve` reads its teacher
    assert spec.architecture == "digits-cnn"
    assert set(learned_ranges(model)) == {"body.c1.0", "body.c2.0", "body.c3.0", "hidden", "feature", "head"}


class _Killed(BaseException):
    """The end of a process, as far as the code can tell."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trainings end with so many more programmings as the list holds, and keep their state every other step."""
    left: list[int] = []
    whole = CrossbarTraining.on_crossbar

    def on_crossbar(self: CrossbarTraining, generation: int, age_s: float) -> Any:
        if left and (left.append(left.pop() - 1) or left[-1] < 0):
            left.clear()
            raise _Killed
        return whole(self, generation, age_s)

    monkeypatch.setattr(CrossbarTraining, "on_crossbar", on_crossbar)
    monkeypatch.setattr(halfway.Halfway.__init__, "__kwdefaults__", {"every": 2})
    return left


def test_killed_and_resumed_it_ends_the_same(folder: Path, dying: list[int]) -> None:
    del folder
    words = ("digits-cnn", *SHORT, "--analog", "noisy.toml", "--compare", "0.04")
    whole = json.loads(harden(*words, "--out", "whole", "--json").stdout)
    dying.append(5)
    with pytest.raises(_Killed):
        CliRunner().invoke(main, ["harden", *words, "--out", "killed"], catch_exceptions=False)
    assert list(Path("killed/models").glob("unfinished-*"))
    refused = harden(*words, "--steps", "7", "--out", "killed", "--resume", code=2)
    assert "config.steps is 6 there and 7 here" in refused.stderr
    resumed = json.loads(harden(*words, "--out", "killed", "--resume", "--json").stdout)
    assert resumed | {"checkpoint": ""} == whole | {"checkpoint": ""}
    for path in Path("whole").rglob("*.safetensors"):
        assert path.read_bytes() == (Path("killed") / path.relative_to("whole")).read_bytes()
    assert [gain["training"] for gain in whole["gains"]] == ["noise-aware", "hardened"]
    longer = json.loads(harden(*words, "--repeats", "3", "--out", "whole", "--resume", "--json").stdout)
    assert longer["repeats"] == 3


def test_a_users_own_model_is_hardened_and_goes_everywhere(folder: Path) -> None:
    del folder
    trained_net()
    words = ("hardened_nets:net", "--data", "digits.npz", "--tile", "32")
    done = harden(*words, "--weights", "net.pt", *SHORT, "--drop-connect", "0.05", "--json", "--out", "out")
    document = json.loads(done.stdout)
    assert (document["metric"], document["data"]) == ("top1", "digits.npz")
    assert "learned from 20 others without their labels" in document["note"]
    scores = {(s["training"], s["age_s"]): s["top1"] for s in document["scores"]}
    assert scores["as given", None]["mean"] > 0.9
    assert {age for _, age in scores} == {None, 0.0, 86_400.0}
    file = document["checkpoint"]
    ranges = json.loads(read_header(Path(file))["input_ranges"])
    assert set(ranges) == {"1", "3"}
    for command in (("map",), ("bench-noise", "--times", "86400", "--quick")):
        got = CliRunner().invoke(main, [command[0], *words, "--weights", file, *command[1:], "--json"])
        assert got.exit_code == 0, got.output
        if command[0] == "map":
            mapped = json.loads(got.stdout)["calibration"]["layers"]
            assert {name: layer["input_range"] for name, layer in mapped.items()} == pytest.approx(ranges)


def test_attention_is_saved_under_its_own_names(folder: Path) -> None:
    del folder
    words = ("hardened_nets:attention", "--data", "digits.npz")
    harden(*words, *SHORT, "--steps", "2", "--out", "out")
    got = CliRunner().invoke(main, ["map", *words, "--weights", "out/hardened.safetensors", "--json"])
    assert got.exit_code == 0, got.output


def test_nothing_that_is_scored_was_learned_from(folder: Path) -> None:
    from nestevo_hw.models.zoo import open_model
    from nestevo_hw.studies.data.dataset import open_data
    from nestevo_hw.studies.data.spec import DataSpec

    model = open_model("hardened_nets:net").model
    data = open_data(DataSpec(source=str(folder / "digits.npz")), "net", model, frames=10_000, seed=0, training=10_000)
    assert len(data.training) == round(0.2 * 1797)
    assert not set(data.training.indices) & set(data.scored.indices)
    assert set(data.calibration.indices) <= set(data.training.indices)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("resnet18",), 2, "resnet18 has random weights from seed 0, which there is no point in hardening; give"),
        (("model.onnx",), 2, "model.onnx brings its own weights, which cannot be learned"),
        (("nowhere",), 2, "unknown model 'nowhere'"),
        (
            ("hardened_nets:net",),
            2,
            "fits no embedded stream, so there is nothing to learn or to score on; give --data",
        ),
        (("digits-cnn", "--analog", "flash"), 2, "unknown device 'flash'"),
        (("digits-cnn", "--analog", "reram-wan", "--age", "60"), 2, "characterised only at 1, 86400, 172800 s"),
        (("digits-cnn", "--keep-digital", "heat"), 2, "did you mean 'head'?"),
        (("digits-cnn", "--weights", "missing.safetensors"), 2, "no file missing.safetensors"),
        (("digits-cnn", "--resume"), 2, "no folder out to go on in"),
    ],
)
def test_mistakes_are_found_before_the_work(words: tuple[str, ...], code: int, message: str, folder: Path) -> None:
    del folder
    refused = harden(*words, "--out", "out", code=code)
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not Path("out").exists()


def test_damaged_ranges_in_a_file_are_told(folder: Path) -> None:
    from nestevo_hw.base.tensors import read_tensors, write_tensors

    del folder
    trained_net()
    state = torch.load("net.pt", weights_only=True)
    write_tensors(Path("bad.safetensors"), state, {"input_ranges": '{"1": -2.0}'})
    words = ["bench-noise", "hardened_nets:net", "--weights", "bad.safetensors", "--data", "digits.npz", "--quick"]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 1
    assert "bad.safetensors: input_ranges: 1: " in refused.stderr
    assert "harden the model again" in refused.stderr
    assert read_tensors(Path("bad.safetensors"))[1].keys() == state.keys()
