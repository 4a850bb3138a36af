"""Models of the user's own on data of the user's own, through every command that takes it."""

import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from nestevo_hw.commands.bench_noise import bench_noise
from nestevo_hw.commands.map import map_command
from nestevo_hw.commands.sensitivity import sensitivity

NETS = """
import torch, torchvision
from torch import nn

def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 84), nn.ReLU(), nn.Linear(84, 10),
    )

def mlp():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

def vit():
    model = torchvision.models.VisionTransformer(
        image_size=224, patch_size=32, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10
    )
    nn.init.normal_(model.heads.head.weight, std=0.1)
    return model

class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = lenet(), wrap
    def forward(self, x):
        return self.wrap(self.net(x))

def as_dict(): return Wrapped(as_logits)
def as_tuple(): return Wrapped(beside)
def as_logits(y): return {"aux": y.mean(), "logits": y}
def beside(y): return y, {"aux": 1}
def regression(): return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
"""
QUICK = ["--repeats", "2", "--mu", "0,0.05", "--times", "0", "--frames", "40"]
MISLEADING = ("accuracy", "points lost", "loses", "point up", " points")


def digits():
    """Images (N, 28, 28) uint8 and labels of the digits that ship with scikit-learn."""
    found = load_digits()
    large = np.pad(np.kron(found.images, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2)))
    return (large / 16 * 255).astype(np.uint8), found.target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks, a trained LeNet and data in every container."""
    path = tmp_path_factory.mktemp("own")
    (path / "own_nets.py").write_text(NETS)
    sys.path.insert(0, str(path))
    images, labels = digits()
    np.savez(path / "digits.npz", x=images[1000:], y=labels[1000:])
    np.savez(path / "vectors.npz", x=load_digits().data.astype(np.float32) / 16, y=labels)
    np.savez(path / "labels.npz", x=images[:40], y=np.arange(40))
    np.savez(path / "colours.npz", x=np.zeros((40, 3, 28, 28), np.uint8), y=labels[:40])
    for i in range(60):
        (path / "tree" / str(labels[i])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[i]).save(path / "tree" / str(labels[i]) / f"{i}.png")
    import own_nets

    torch.manual_seed(0)
    net = own_nets.lenet()
    x, y = torch.from_numpy(images[:1000])[:, None].float() / 255, torch.from_numpy(labels[:1000])
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(5):
        for batch in torch.randperm(1000).split(50):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, path / "lenet.pth")
    yield path
    sys.path.remove(str(path))
    sys.modules.pop("own_nets", None)


def invoke(command, words, folder, out=None, code=0):
    words = [str(folder / word) if (folder / word).exists() else word for word in words]
    result = CliRunner().invoke(
        command, [*words, *([] if out is None else ["--out", str(out)])], env={"COLUMNS": "200"}
    )
    assert result.exit_code == code, result.stderr
    return result


def test_the_accuracy_of_a_trained_net_is_its_real_one(folder, tmp_path):
    words = ["own_nets:lenet", "--weights", "lenet.pth", "--data", "digits.npz", *QUICK[:6], "--frames", "400"]
    result = invoke(bench_noise, words, folder, tmp_path)
    document = json.loads((tmp_path / "results.json").read_text())
    assert (document["metric"], document["metrics"], document["frames"]) == ("top1", ["top1", "top5"], 400)
    digital = document["digital"][0]["mean"]
    import own_nets

    from nestevo_hw.models.state import load_state
    from nestevo_hw.studies.data.dataset import evenly, split

    net = own_nets.lenet().eval()
    with np.load(folder / "digits.npz") as held:
        x, y = held["x"], held["y"]
    load_state(net, folder / "lenet.pth")
    rows = evenly(split(len(y), 0.2, 0, "")[0], 400)
    with torch.no_grad():
        right = net(torch.from_numpy(x[rows])[:, None].float() / 255).argmax(1).numpy() == y[rows]
    assert digital == pytest.approx(right.mean(), abs=1e-6)
    assert digital > 0.8
    programmed = document["unswept"][0]
    assert digital - 0.1 < programmed["mean"] <= 1.0
    assert 0.0 <= programmed["ci95"][0] <= programmed["ci95"][1] <= 1.0
    assert document["digital"][0]["metrics"]["top5"]["mean"] > digital
    assert "over the choice of 400 frames" in result.stdout
    assert "input ranges from 32 others" in document["note"]
    assert "top-1 accuracy" in (tmp_path / "report.html").read_text()


def test_without_data_nothing_is_called_accuracy(folder, tmp_path):
    result = invoke(bench_noise, ["own_nets:lenet", "--weights", "lenet.pth", *QUICK], folder, tmp_path)
    page, document = (tmp_path / "report.html").read_text(), (tmp_path / "results.json").read_text()
    for text in (result.stdout, page, document, (tmp_path / "results.csv").read_text()):
        assert not [word for word in MISLEADING if word in text.lower()]
    assert "1 x 28 x 28" in result.stdout  # the size is found by trying
    assert len([line for line in result.stdout.splitlines() if "--data" in line]) == 1
    assert "agreement with the digital model" in page.lower()
    words = ["own_nets:lenet", "--repeats", "2", "--frames", "8", "--no-plan"]
    result = invoke(sensitivity, words, folder, tmp_path / "s")
    for text in (result.stdout, *((tmp_path / "s" / f"sensitivity.{kind}").read_text() for kind in ("html", "json"))):
        assert not [word for word in MISLEADING if word in text.lower()]


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        (["own_nets:mlp"], "top1_agreement"),
        (["own_nets:mlp", "--data", "vectors.npz"], "top1"),
        (["own_nets:as_dict"], "top1_agreement"),
        (["own_nets:as_dict", "--data", "digits.npz"], "top1"),
        (["own_nets:as_tuple", "--data", "tree", "--size", "28x28"], "top1"),
        (["own_nets:vit", "--data", "tree", "--size", "224x224", "--frames", "8"], "top1"),
        (["own_nets:regression"], "r2_vs_digital"),
    ],
)
def test_models_of_every_kind(folder, tmp_path, words, metric):
    words = [words[0], "--repeats", "2", "--mu", "0.05", "--times", "0", "--frames", "8", *words[1:], "--json"]
    document = json.loads(invoke(bench_noise, words, folder, tmp_path).stdout)
    assert document["metric"] == metric
    assert document["data"] == (None if "--data" not in words else document["data"])


def test_sensitivity_is_measured_on_the_same_samples(folder, tmp_path):
    words = ["own_nets:lenet", "--weights", "lenet.pth", "--data", "digits.npz", "--repeats", "2", "--frames", "100"]
    document = json.loads(invoke(sensitivity, [*words, "--no-plan", "--json"], folder, tmp_path).stdout)
    assert (document["metric"], document["frames"]) == ("top1", 100)
    assert document["digital"]["all"] > 0.8
    assert "top-1 accuracy lost" in (tmp_path / "sensitivity.html").read_text()


def test_map_sets_the_input_ranges(folder):
    words = ["own_nets:lenet", "--weights", "lenet.pth", "--data", "digits.npz", "--json"]
    document = json.loads(invoke(map_command, words, folder).stdout)
    layers = document["calibration"]["layers"]
    assert list(layers) == [layer["name"] for layer in document["layers"]]
    assert layers["0"]["input_range"] == pytest.approx(1.0)  # pixels as 0 to 1, some of them white
    assert all(layer["output_snr_db"] > 10 for layer in layers.values())
    assert json.loads(invoke(map_command, [*words[:3], "--json"], folder).stdout)["calibration"] is None
    refused = invoke(map_command, [*words, "--no-program"], folder, code=2)
    assert "leave --no-program or --data out" in refused.stderr


def test_map_calibrates_the_range_of_each_layers_adcs(folder):
    words = ["own_nets:lenet", "--weights", "lenet.pth", "--data", "digits.npz", "--adc-range"]
    found = {
        kind: json.loads(invoke(map_command, [*words, kind, "--json"], folder).stdout)
        for kind in ("fixed", "calibrated")
    }
    for kind, document in found.items():
        assert {layer["hardware"]["converters"]["adc_range"] for layer in document["layers"]} == {kind}
    fixed, own = (
        [layer["output_snr_db"] for layer in document["calibration"]["layers"].values()] for document in found.values()
    )
    assert fixed != own
    refused = invoke(map_command, [*words[:3], "--adc-range", "calibrated"], folder, code=2)
    assert "give --data, or leave --adc-range out" in refused.stderr


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["own_nets:lenet", "--weights", "lenet.pth", "--data", "digits.npz"], None),
        (["own_nets:lenet", "--no-program", "--size", "28x28"], [28, 28]),
        (["own_nets:mlp", "--no-program"], [1, 64]),
    ],
)
def test_a_chip_is_costed_for_inputs_that_the_model_takes(folder, words, size):
    chip = json.loads(invoke(map_command, [*words, "--chip", "isaac", "--json"], folder).stdout)["chip"]
    assert chip["size"] == (size or list(np.load(folder / "digits.npz")["x"].shape[-2:]))
    assert chip["interval_s"] > 0


def test_a_frame_that_the_model_does_not_take_is_one_line(folder):
    refused = invoke(map_command, ["own_nets:lenet", "--no-program", "--chip", "isaac"], folder, code=1)
    assert refused.stderr.count("\n") == 1
    assert "(1, 1, 720, 1280)" in refused.stderr
    assert "give its --size, or --data" in refused.stderr


def test_a_resumed_benchmark_wants_the_same_samples(folder, tmp_path):
    words = ["own_nets:mlp", "--data", "vectors.npz", "--repeats", "2", "--mu", "0.05", "--frames", "8"]
    invoke(bench_noise, words, folder, tmp_path)
    invoke(bench_noise, [*words, "--resume", "--json"], folder, tmp_path)
    refused = invoke(bench_noise, [*words, "--resume", "--calibration-share", "0.5"], folder, tmp_path, code=2)
    assert "another configuration (data.calibration_share is 0.2 there and 0.5 here" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["own_nets:lenet", "--data", "nowhere"], 1, "'nowhere' is no data that can be read"),
        (["own_nets:lenet", "--data", "labels.npz"], 1, "labels go up to 39, but the model gives scores of 10 classes"),
        (["own_nets:lenet", "--data", "colours.npz"], 1, "have 3 channels, the model takes 1; --channels 1 converts"),
        (["own_nets:lenet", "--data", "vectors.npz"], 1, "does not run on inputs of shape (32, 64)"),
        (["own_nets:lenet", "--data", "digits.npz", "--size", "20x20"], 1, "see --size, --channels"),
        (["own_nets:lenet", "--data", "digits.npz", "--size", "20"], 2, "need a size as HEIGHTxWIDTH"),
        (["own_nets:lenet", "--data", "digits.npz", "--mean", "a"], 2, "--mean: need numbers separated by commas"),
        (["own_nets:lenet", "--data", "digits.npz", "--mean", "1,2"], 2, "--mean has 2 numbers, the samples have 1"),
        (["own_nets:lenet", "--data", "digits.npz", "--transforms", "x"], 2, "torchvision has no weights 'x'"),
        (["own_nets:lenet", "--mean", "0.5"], 2, "give --data too"),
        (["own_nets:lenet", "--data", "digits.npz", "--students"], 2, "students learn on embedded frames"),
        (["own_nets:regression", "--data", "vectors.npz"], 1, "expected class scores (32, classes) from the model"),
        (["own_nets:lenet", "--data", "tree", "--classes", "0,1"], 2, "folder '2' is none of the 2 classes"),
        (["own_nets:lenet", "--data", "tree", "--classes", "0,1,2,3,4,5,6,7,8,9,x"], 1, "has 11 classes, the model 10"),
        (["own_nets:lenet", "--weights", "digits.npz"], 1, "is not a readable safetensors file"),
    ],
)
def test_what_cannot_be_scored_is_one_line_before_any_work(folder, tmp_path, words, code, message):
    result = invoke(bench_noise, [*words, "--quick"], folder, tmp_path / "out", code=code)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
