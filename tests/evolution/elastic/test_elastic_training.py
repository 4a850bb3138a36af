"""Distillation brings branches nearer to their spans, tuning to the labels; the base stays, a kill changes nothing."""

import random
from contextlib import suppress

import pytest
import torch

from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.evolution import halfway
from nestevo_hw.evolution.elastic.training import distil, distillation_loss, path_with_news, tune
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.models.elastic.space import Branch, PathSpace, all_branches
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.tasks.named import task_named
from tests.models.elastic.nets import net

FRAMES = DigitStream(name="campus", place="campus", seed=0, role="training").read(range(32))
PLAN = TrainingPlan(steps=30, batch_size=8, learning_rate=2e-3)
TASK = task_named("classification")


def fresh():
    """A network that knows nothing yet of digits."""
    return expand(net("inverted"), FRAMES.images[:8].float() / 255, spans=(2,), rates=(0.5,))


@torch.no_grad()
def off(supernet):
    paths = [supernet.space.sample(random.Random(k)) for k in range(20)]
    images = FRAMES.images.float() / 255
    return sum(float(distillation_loss(supernet, p, images)) for p in paths if p != supernet.space.base)


def test_distillation_lowers_the_distance_on_all_paths_and_leaves_the_base(tmp_path):
    supernet = fresh()
    base, before = {k: t.clone() for k, t in supernet.base.state_dict().items()}, off(supernet)
    distil(supernet, FRAMES.images, PLAN, Augmentation(flip=False), seed=0, state=tmp_path / "half")
    assert off(supernet) < before
    assert all(torch.equal(t, base[k]) for k, t in supernet.base.state_dict().items())


def test_tuning_lowers_the_loss_of_the_labels_and_leaves_the_base(tmp_path):
    supernet = fresh()
    base = {k: t.clone() for k, t in supernet.base.state_dict().items()}
    path = supernet.space.path_at(supernet.space.count - 1)
    images = list(FRAMES.images.float() / 255)

    def loss():
        with supernet.on(path) as model, torch.no_grad():
            return float(TASK.supervised_loss(model, images, FRAMES.truth))

    before = loss()
    tune(TASK, supernet, FRAMES.images, FRAMES.truth, PLAN, Augmentation(flip=False), seed=0, state=tmp_path / "half")
    assert loss() < before
    assert all(torch.equal(t, base[k]) for k, t in supernet.base.state_dict().items())


def test_each_branch_or_each_path_is_drawn_as_often():
    """The first triple of 12 blocks, against what counting says."""
    space = PathSpace(12, all_branches(12, rates=(0.25,)))
    new = [branch for branch in space.branches if not branch.original]
    triple, count, drawn = Branch(0, 3), 2000, torch_generator(0, "drawn")
    shares = {
        drawing: sum(triple in path_with_news(space, drawn, drawing) for _ in range(count)) / count
        for drawing in ("branches", "paths")
    }  # fmt: skip
    by_paths = space.ways[3] / (space.count - 1)
    by_branches = sum(on(space, triple, branch) for branch in new) / len(new)
    for drawing, wanted in (("branches", by_branches), ("paths", by_paths)):
        assert abs(shares[drawing] - wanted) < 4 * (wanted * (1 - wanted) / count) ** 0.5, drawing
    assert by_branches > by_paths


def on(space, wanted, branch):
    """Share of the paths through a branch that also go through a wanted one, by counting."""
    if branch == wanted:
        return 1.0
    if branch.start < wanted.end:
        return 0.0
    ways = [1] + [0] * space.blocks
    for one in sorted(space.branches, key=lambda one: one.end):
        ways[one.end] += ways[one.start]
    between = [0] * wanted.end + [1] + [0] * (space.blocks - wanted.end)
    for one in sorted(space.branches, key=lambda one: one.end):
        if one.start >= wanted.end:
            between[one.end] += between[one.start]
    return between[branch.start] / ways[branch.start]


@pytest.mark.parametrize("kind", ["distil", "tune"])
def test_a_killed_training_ends_as_if_nothing_had_happened(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(halfway, "EVERY", 4)
    monkeypatch.setattr(halfway.Halfway.__init__, "__kwdefaults__", {"every": 4})
    plan, how = TrainingPlan(steps=10, batch_size=8), Augmentation(flip=False)

    def train(supernet, state):
        if kind == "distil":
            distil(supernet, FRAMES.images, plan, how, seed=0, state=state)
        else:
            tune(TASK, supernet, FRAMES.images, FRAMES.truth, plan, how, seed=0, state=state)
        return supernet.state_dict()

    wanted = train(fresh(), tmp_path / "whole")
    saves = []

    class Killed(Exception):  # noqa: N818
        pass

    kept = halfway.Halfway.save

    def save(self, *args):
        kept(self, *args)
        saves.append(args[0])
        if len(saves) == 1:
            raise Killed

    monkeypatch.setattr(halfway.Halfway, "save", save)
    with suppress(Killed):
        train(fresh(), tmp_path / "half")
    assert saves == [4]
    found = train(fresh(), tmp_path / "half")
    assert all(torch.equal(t, found[k]) for k, t in wanted.items())
