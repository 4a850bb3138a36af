"""State dicts of anybody's training: loaded where they fit, refused in one line where they do not."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.state import load_state
from nestevo_hw.models.zoo import open_model


def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture
def trained():
    torch.manual_seed(1)
    model = net()
    model[1].running_mean.fill_(0.5)
    model[1].num_batches_tracked.fill_(7)
    return model


def same(model, other):
    own = other.state_dict()
    return all(torch.equal(value, own[key]) for key, value in model.state_dict().items() if "num_batches" not in key)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("counters", [True, False])
def test_names_with_and_without_what_wrappers_add(tmp_path, trained, prefix, suffix, counters):
    state = {prefix + key: value for key, value in trained.state_dict().items() if counters or "num_batch" not in key}
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    model = net()
    load_state(model, path)
    assert same(model, trained)
    assert int(model[1].num_batches_tracked) == (7 if counters else 0)


def test_a_model_whose_own_names_look_wrapped(tmp_path):
    model = nn.ModuleDict({"module": nn.Linear(3, 2)})
    for prefix in ("", "module."):
        torch.save(
            {prefix + key: torch.ones_like(value) for key, value in model.state_dict().items()}, tmp_path / "w.pt"
        )
        load_state(model, tmp_path / "w.pt")
        assert float(model["module"].bias.detach().sum()) == 2.0


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_weights_beside_an_optimiser(tmp_path, trained, key):
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3, key: trained.state_dict(), "optimizer": {"lr": 0.1}}, path)
    model = net()
    load_state(model, path)
    assert same(model, trained)


def test_counters_that_the_model_lacks(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"weight": torch.ones(2, 3), "bias": torch.ones(2), "norm.num_batches_tracked": torch.tensor(1)}, path)
    model = nn.Linear(3, 2)
    load_state(model, path)
    assert float(model.bias.detach().sum()) == 2


def _state(**changes):
    return {**{key: value for key, value in net().state_dict().items() if key not in changes},
            **{key: value for key, value in changes.items() if value is not None}}  # fmt: skip


BAD = {
    "a whole model": (net(), "holds more than tensors by name, which is not loaded; save the weights alone"),
    "a list": ([torch.ones(2)], "holds a list, not tensors by name"),
    "nothing": ({}, "holds nothing, not tensors by name"),
    "numbers": ({"a": 1.0}, "'a' is a float, not a tensor"),
    "one missing": (_state(**{"3.bias": None}), r"tensor 3.bias is missing; .* \(8 of its 9 names match\)"),
    "one left over": (_state(extra=torch.ones(1)), "unexpected tensor extra; the file belongs to another model"),
    "another shape": (_state(**{"3.weight": torch.ones(5, 16)}), r"expected shape \(3, 16\) but got \(5, 16\)"),
    "NaN": (_state(**{"3.bias": torch.full((3,), torch.nan)}), "3.bias holds NaN or infinite values"),
    "whole numbers": (_state(**{"3.bias": torch.ones(3, dtype=torch.int8)}), "3.bias is int8, not floats"),
    "another model": ({"fc.weight": torch.ones(2)}, "none of its names matches; its first is fc.weight"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_line(tmp_path, name):
    stored, message = BAD[name]
    path = tmp_path / "w.pt"
    torch.save(stored, path)
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match=message) as caught:
        load_state(model, path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"text"])
def test_damaged_files(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a readable file of PyTorch|holds more than"):
        load_state(net(), path)
    with pytest.raises(InputError, match=r"no file .*absent\.pt; check the path"):
        load_state(net(), tmp_path / "absent.pt")


def test_a_file_that_would_run_code_does_not(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "w.pt"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="not"):
        load_state(net(), path)
    assert not (tmp_path / "ran").exists()


def test_beside_a_name_and_a_factory(tmp_path, monkeypatch):
    from torchvision.models import resnet18

    source = resnet18(num_classes=3)
    torch.save({f"module.{key}": value for key, value in source.state_dict().items()}, tmp_path / "w.pth")
    opened = open_model("resnet18", weights=tmp_path / "w.pth")
    assert opened.trained
    assert torch.equal(opened.model.fc.weight, source.fc.weight)
