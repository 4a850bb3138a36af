"""Networks of the user's own: what is seen of them, pruned, stored and built again."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.models.batch_norm import re_estimate_batch_norm
from nestevo_hw.models.checkpoint import ModelSpec, check_origin, load_model, load_weights, save_model
from nestevo_hw.models.classifier import SmallClassifier, features, features_and_logits, last_layer
from nestevo_hw.models.pruning import prune


class Mixed(nn.Module):
    """Layers of many kinds, and a feature of 24 for the last one."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.first, self.group = nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.depth, self.norm = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.point = nn.Conv2d(16, 32, 1)
        self.wide, self.flat = nn.Linear(32 * 4, 64), nn.BatchNorm1d(64)
        self.layer, self.feature = nn.LayerNorm(64), nn.Linear(64, 24)
        self.head = nn.Linear(24, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.depth(self.group(self.first(images)).relu())).relu()
        x = nn.functional.adaptive_avg_pool2d(self.point(x).relu(), 2).flatten(1)
        return self.head(self.feature(self.layer(self.flat(self.wide(x))).relu()))


class Asks(nn.Module):
    """Prunes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self.layer = nn.Linear(2, 2)

    def prune_channels(self, ratio: float) -> None:
        if self.asked:
            raise ZeroDivisionError("twice")
        self.asked.append(ratio)


class Token(nn.Module):
    """A parameter outside of layers, which says its width itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.token = nn.Linear(3, 8), nn.Parameter(torch.zeros(8))
        self.feature, self.head = nn.Linear(8, 4), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.feature(self.net(images.mean((2, 3))).reshape(-1, 2, 4).flatten(1) + self.token[:8]))


def test_the_feature_is_what_the_last_layer_takes() -> None:
    model, images = SmallClassifier(4).eval(), torch.rand(3, 3, 32, 32)
    assert last_layer(model) == "head"
    assert torch.equal(features(model, images), model.features(images))
    described, logits = features_and_logits(model, images)
    assert torch.equal(described, model.features(images))
    assert torch.equal(logits, model(images))
    assert len(model.head._forward_pre_hooks) == 0
    with pytest.raises(InputError, match="a Conv2d has no linear layer to make logits"):
        last_layer(nn.Conv2d(3, 3, 1))


def test_pruned_layers_of_any_kind_are_stored_and_built_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = prune(Mixed().eval(), 0.5)
    assert (model.first.out_channels, model.depth.groups, model.point.out_channels) == (8, 8, 16)
    assert (model.feature.out_features, model.head.in_features, model.wide.out_features) == (24, 24, 32)
    again, images = Mixed().eval(), torch.rand(2, 3, 32, 32)
    load_weights(again, model.state_dict(), source="test")
    assert torch.equal(again(images), model(images))
    again.train()(images).sum().backward()
    assert again.layer.normalized_shape == (32,)
    assert again.group.num_channels == 8


def test_a_model_may_prune_itself_and_one_that_cannot_be_pruned_is_told() -> None:
    model = Asks()
    assert prune(model, 0.3) is model
    assert model.asked == [0.3]
    with pytest.raises(ConfigError, match=r"Asks.prune_channels\(0.5\) failed: ZeroDivisionError: twice"):
        prune(model, 0.5)
    with pytest.raises(ConfigError, match=r"a Token cannot be pruned by itself .*give it a method prune_channels"):
        prune(Token(), 0.5, (8, 8))


def test_batch_norm_of_vectors_is_re_estimated_too() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)).eval()
    frames = torch.arange(24.0).reshape(6, 1, 2, 2)
    model.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    re_estimate_batch_norm(model, model, [frames])
    assert model[1].running_mean.tolist() == [10.0, 11.0, 12.0, 13.0]  # of 0, 4, .. 20 and so on
    assert model[1].running_var.tolist() == pytest.approx([56.0] * 4)


def test_a_factory_is_called_with_classes_and_named_before_it_runs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "nets_of_mine.py").write_text(
        "from torch import nn\ndef make(num_classes):\n    return nn.Linear(3, num_classes)\n"
    )
    spec = ModelSpec(architecture="nets_of_mine:make", classes=("a", "b"), min_size=32, max_size=32)
    detector = ModelSpec(
        architecture="nets_of_mine:make", classes=("a", "b"), min_size=32, max_size=32, background=True
    )
    assert (spec.build().out_features, detector.build().out_features, spec.name) == (2, 3, "make")
    save_model(spec.build(), spec, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors")[1] == spec
    assert check_origin(tmp_path / "m.safetensors", "nets_of_mine:make", "factory") == spec
    with pytest.raises(ConfigError, match='its code runs only if factory = "nets_of_mine:make"'):
        check_origin(tmp_path / "m.safetensors", "other:make", "factory")
