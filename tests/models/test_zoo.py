"""Models by name, with weights that fit or a message that says what does not."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.models.checkpoint import ModelSpec, pretrained_path, save_model
from nestevo_hw.models.inputs import example_inputs
from nestevo_hw.models.names import PRETRAINED, names
from nestevo_hw.models.pruning import prune
from nestevo_hw.models.zoo import load_model, open_model


def _write(path: Path, state: dict[str, Tensor]) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    return path


@pytest.mark.parametrize("name", ["fasterrcnn-tiny", "fasterrcnn-mobilenet-v3", "resnet18"])
def test_random_weights_are_the_same_every_time(name: str) -> None:
    before = torch.random.get_rng_state()
    first, second = (open_model(name, num_classes=5) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not first.model.training
    assert not first.trained
    assert first.origin == "random weights from seed 0"
    assert first.task == ("classification" if name == "resnet18" else "detection")
    for one, other in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_every_name_is_offered_when_one_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown model 'yolo'") as caught:
        load_model("yolo")
    assert all(name in str(caught.value) for name in names())
    assert {"fasterrcnn-tiny", "fasterrcnn-resnet50-fpn", "fasterrcnn-mobilenet-v3", "resnet18"} <= set(names())


def test_a_checkpoint_in_place_of_a_model_is_told_where_it_goes() -> None:
    path = str(pretrained_path("fasterrcnn-tiny-m1"))
    with pytest.raises(ConfigError, match=r"is a checkpoint: give fasterrcnn-tiny as the model, .* by --weights"):
        load_model(path)


def test_weights_of_a_file_are_loaded_with_their_number_of_classes(tmp_path: Path) -> None:
    source = resnet18(num_classes=7)
    path = _write(tmp_path / "weights.safetensors", source.state_dict())
    opened = open_model("resnet18", weights=path)
    assert opened.trained
    assert str(path) in opened.origin
    assert torch.equal(opened.model.state_dict()["fc.weight"], source.fc.weight)


def test_a_detector_checkpoint_of_this_program_is_loaded(tmp_path: Path) -> None:
    spec = ModelSpec(architecture="fasterrcnn-tiny", classes=("car", "bus"), min_size=96, max_size=128)
    model, path = spec.build(), tmp_path / "tiny.safetensors"
    save_model(model, spec, path)
    loaded = load_model("fasterrcnn-tiny", weights=path)
    assert isinstance(loaded, FasterRCNN)
    assert loaded.transform.min_size == (96,)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())
    with pytest.raises(InputError, match="holds a fasterrcnn-tiny, not a fasterrcnn-resnet50-fpn"):
        load_model("fasterrcnn-resnet50-fpn", weights=path)


def test_every_shipped_model_opens_under_its_name() -> None:
    assert len(names()) == len(set(names()))
    for name in PRETRAINED:
        opened = open_model(name)
        assert opened.trained
        assert opened.task == ("classification" if name.startswith("digits") else "detection")


def test_checkpoints_of_classifiers_are_loaded_pruned_or_not(tmp_path: Path) -> None:
    spec = ModelSpec(architecture="digits-cnn", classes=("a", "b", "c"), min_size=32, max_size=32)
    model, path, images = spec.build().eval(), tmp_path / "digits.safetensors", torch.rand(2, 3, 32, 32)
    prune(model, 0.5)
    save_model(model, spec, path)
    loaded = load_model("digits-cnn", weights=path)
    assert torch.equal(loaded(images), model(images))
    with pytest.raises(InputError, match="holds a digits-cnn, not a fasterrcnn-tiny"):
        load_model("fasterrcnn-tiny", weights=path)


def test_a_classifiers_classes_have_no_background(tmp_path: Path) -> None:
    images = example_inputs(load_model("digits-cnn"))
    assert isinstance(images, Tensor)
    assert images.shape == (4, 3, 32, 32)
    assert load_model("digits-cnn", num_classes=7)(images).shape == (4, 7)
    state = load_model("digits-cnn", num_classes=6).state_dict()
    assert load_model("digits-cnn", weights=_write(tmp_path / "w.safetensors", state))(images).shape == (4, 6)
    with pytest.raises(ConfigError, match="ships with its own classes"):
        load_model("digits-cnn-m1", num_classes=6)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state, path = resnet18(num_classes=4).state_dict(), tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match="no file"):
        load_model("resnet18", weights=path)
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_model("resnet18", weights=path)
    _write(path, {**state, "conv1.weight": torch.ones(64, 3, 3, 3)})
    with pytest.raises(InputError, match=r"conv1.weight expected shape \(64, 3, 7, 7\) but got \(64, 3, 3, 3\)"):
        load_model("resnet18", weights=path)
    _write(path, {**state, "bn1.bias": torch.full((64,), float("nan"))})
    with pytest.raises(InputError, match=r"bn1\.bias holds NaN"):
        load_model("resnet18", weights=path)
    _write(path, {k: v for k, v in state.items() if k != "bn1.bias"})
    with pytest.raises(InputError, match=r"bn1\.bias is missing"):
        load_model("resnet18", weights=path)
    _write(path, {**state, "more": torch.ones(1)})
    with pytest.raises(InputError, match="unexpected tensor more"):
        load_model("resnet18", weights=path)
    with pytest.raises(InputError, match=r"fc.weight expected shape \(9, 512\) but got \(4, 512\)"):
        load_model("resnet18", weights=_write(path, state), num_classes=9)


def test_a_model_of_the_user_comes_from_its_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_zoo_test.py").write_text(
        "from torch import nn\n\ndef build(num_classes=3):\n    return nn.Linear(2, num_classes)\n\n"
        "number = 5\n\ndef count():\n    return 5\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(load_model("mine_zoo_test:build"), nn.Linear)
    assert load_model("mine_zoo_test:build", num_classes=8).out_features == 8
    with pytest.raises(ConfigError, match="cannot import 'missing' from module 'mine_zoo_test'"):
        load_model("mine_zoo_test:missing")
    with pytest.raises(ConfigError, match="No module named 'no_such_module'"):
        load_model("no_such_module:build")
    with pytest.raises(ConfigError, match="returned int, expected a torch"):
        load_model("mine_zoo_test:count")
    with pytest.raises(ConfigError, match="could not be called"):
        load_model("mine_zoo_test:number")


def test_example_inputs_are_what_the_model_takes() -> None:
    detector = load_model("fasterrcnn-tiny", num_classes=3)
    images = example_inputs(detector, count=2)
    assert [tuple(image.shape) for image in images] == [(3, 128, 160)] * 2
    with torch.no_grad():
        assert len(detector(images)) == 2
    batch = example_inputs(load_model("resnet18", num_classes=3), count=3, size=(40, 48))
    assert isinstance(batch, Tensor)
    assert batch.shape == (3, 3, 40, 48)
    assert (batch.min().item(), batch.max().item()) == (0.0, 1.0)
    assert torch.equal(batch, example_inputs(nn.Identity(), count=3, size=(40, 48)))
    assert not torch.equal(batch, example_inputs(nn.Identity(), count=3, seed=1, size=(40, 48)))
