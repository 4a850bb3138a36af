"""Scenes are told apart by weather and light, not by what stands in them."""

import math

import pytest
import torch
from torch import nn

from nestevo_hw.evolution.cameras import capture_window, reference_frames
from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.related import MOST_RELATED, SceneStatistics, nearest, relative_distances
from nestevo_hw.models.checkpoint import load_model, resolve_checkpoint
from nestevo_hw.tasks.named import task_named

CPU = torch.device("cpu")


class Channels:
    """A task whose model sees the images as they are."""

    def re_estimate(self, model, images):
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean = images.float().mean((0, 2, 3))
                norm.running_var = images.float().var((0, 2, 3))


def scene(means, spreads, seed=0):
    """Images whose channels are normal with these means and deviations, in whole numbers."""
    drawn = torch.randn(4, 3, 40, 40, generator=torch.Generator().manual_seed(seed))
    return (drawn * torch.tensor(spreads)[:, None, None] + torch.tensor(means)[:, None, None]).round()


def test_the_distance_is_that_of_normal_distributions_in_their_mean_variance():
    model, a, b = nn.BatchNorm2d(3), scene([100.0] * 3, [20.0] * 3), scene([130.0, 100, 100], [20.0, 20, 40], seed=1)
    left, right = (SceneStatistics.of(Channels(), model, images, CPU) for images in (a, b))
    first = 30**2 / ((20**2 + 20**2) / 2)
    last = (40 - 20) ** 2 / ((20**2 + 40**2) / 2)
    assert left.apart(right) == pytest.approx((first + 0 + last) / 3, rel=0.1)
    assert left.apart(right) == right.apart(left)
    assert left.apart(left) == 0.0


def test_in_domain_frames_lie_at_one_and_a_twin_at_none():
    known, own = (
        SceneStatistics.of(Channels(), nn.BatchNorm2d(3), scene([mean] * 3, [20.0] * 3), CPU) for mean in (60.0, 100.0)
    )
    found = relative_distances({"a": own, "b": own, "c": known}, known)
    assert found["a"] == {"b": 0.0, "c": 1.0}
    assert found["c"]["a"] > 1e6, "it has not drifted, so no other scene is of its kind"
    assert all(math.isfinite(apart) for others in found.values() for apart in others.values())


def test_the_nearest_are_learned_from_and_not_too_many():
    assert nearest({"a": 0.5, "b": 0.1, "c": 0.6, "d": math.inf}, 0.5) == ("b", "a")
    assert nearest({}, 0.5) == ()
    many = {f"camera-{k}": k / 100 for k in range(40)}
    assert nearest(many, 0.5) == tuple(many)[:MOST_RELATED]


@pytest.mark.parametrize(("preset", "model"), [("digits", "digits-cnn"), ("digits", "digits-cnn-m3"), ("quick", None)])
def test_cameras_in_one_weather_are_related_and_others_are_not(preset, model):
    """Digits: night, fog and dusk, which is as dark as night. Streets: three places at night, one of them in fog."""
    config = override(load_preset(preset), {"window.upload_frames": 24, "reference.frames_per_segment": 8})
    document = config.document()
    if preset == "quick":
        for terminal, kind in zip(document["terminals"], ("night", "night", "fog"), strict=True):
            terminal["drift"] = [{"window": 0, "kind": kind, "strength": 0.8}]
        config = override(config, {"terminals": document["terminals"]})
    names = [terminal.name for terminal in config.terminals]
    scenes = {name: capture_window(config, name, 0, frames=24).upload.images for name in names}
    ruler, _ = load_model(resolve_checkpoint(model or config.teacher.model))
    seen = {
        name: SceneStatistics.of(task_named(config.task), ruler, images, CPU)
        for name, images in {**scenes, "": reference_frames(config)[0].images}.items()
    }
    found = relative_distances({name: seen[name] for name in names}, seen[""])
    related = {
        name: [other for other, apart in found[name].items() if apart <= config.replay.related] for name in names
    }
    expected = (
        {"counter": ["gate"], "belt": [], "gate": ["counter"]} if preset == "digits"
        else {"campus": ["village"], "village": ["campus"], "downtown": []}
    )  # fmt: skip
    assert related == expected
