"""Every path through a supernet is a model that works; that of the base is the base to the bit."""

import copy
import random
from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.resnet import BasicBlock

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.models.elastic.blocks import ending, merged
from nestevo_hw.models.elastic.chain import find_chain, inputs_of, outputs_of
from nestevo_hw.models.elastic.fitting import before_relu, fit
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.models.elastic.supernet import RATES, SPANS, as_inputs, expand, new_branches, recalibrate, through
from nestevo_hw.models.faster_rcnn import fasterrcnn_resnet30_slim
from nestevo_hw.models.zoo import load_model
from nestevo_hw.streams.digits import DigitStream
from tests.models.elastic.nets import frames_for, net

KINDS = (
    "basic",
    "bottleneck",
    "inverted",
    *(pytest.param(k, marks=pytest.mark.slow) for k in ("mobilenet", "detector")),
)


@cache
def _made(kind):
    return expand(net(kind), frames_for(kind))


def made(kind):
    return copy.deepcopy(_made(kind))


def flat(found):
    """All tensors of what a model says."""
    return [t for one in found for t in one.values()] if isinstance(found, list) else [found]


def test_the_chain_of_torchvisions_resnet_is_found_in_order():
    chain = find_chain(resnet18(num_classes=3).eval(), torch.rand(1, 3, 32, 32))
    assert chain.names == tuple(f"layer{k}.{b}" for k in (1, 2, 3, 4) for b in (0, 1))
    assert chain.taps == ()


def test_the_pyramid_of_a_detector_taps_the_ends_of_its_stages():
    chain = find_chain(net("detector"), as_inputs(net("detector"), frames_for("detector", 1)))
    assert [chain.names[k] for k in chain.taps] == ["backbone.body.c3.1", "backbone.body.c4.1"]


def test_the_base_for_supernets_has_its_blocks_in_three_stretches():
    base = fasterrcnn_resnet30_slim(4, min_size=64, max_size=64).eval()
    chain = find_chain(base, as_inputs(base, frames_for("detector", 1)))
    assert len(chain.names) == 14
    assert chain.taps == (5, 9)


def test_a_model_without_blocks_is_refused():
    with pytest.raises(InputError, match="no chain of basic blocks"):
        find_chain(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.rand(1, 3, 8, 8))


class Net(nn.Module):
    """Three blocks, joined in a way of its own."""

    def __init__(self, join):
        super().__init__()
        self.stem, self.head, self.join = nn.Conv2d(3, 8, 3, 2, 1), nn.LazyLinear(5), join
        self.blocks = nn.ModuleList(BasicBlock(8, 8) for _ in range(3))

    def forward(self, x):
        return self.head(self.join(self.stem, self.blocks, x).mean((2, 3)))


def tried(join):
    torch.manual_seed(0)
    model = Net(join).eval()
    images = torch.rand(1, 3, 16, 16)
    model(images)
    return find_chain(model, images)


def sums(stem, blocks, x):
    early = blocks[0](stem(x))
    return early + blocks[2](blocks[1](early))


def joins(stem, blocks, x):
    early = blocks[1](blocks[0](stem(x)))
    return torch.cat([blocks[2](early), early], 1)


def means_before(stem, blocks, x):
    early = blocks[0](stem(x))
    return early.mean() * blocks[2](blocks[1](early))


@pytest.mark.parametrize(("join", "taps"), [(sums, (0,)), (joins, (1,)), (means_before, (0,))])
def test_an_output_that_a_plain_function_reads_is_a_tap(join, taps):
    assert tried(join).taps == taps


@pytest.mark.parametrize(
    ("join", "told"),
    [
        (lambda stem, blocks, x: blocks[2](blocks[1](blocks[0](stem(x)).sigmoid())), "what blocks.1 takes"),
        (lambda stem, blocks, x: blocks[2](blocks[1](x=blocks[0](stem(x)))), "what blocks.1 takes"),
        (lambda stem, blocks, x: stem(x) + blocks[2](blocks[1](blocks[0](stem(x)))), "before them"),
        (lambda stem, blocks, x: blocks[2](blocks[1](blocks[0](stem(x)))) * x.mean(), "before them"),
    ],
)
def test_blocks_whose_parts_would_compute_something_else_are_refused(join, told):
    with pytest.raises(InputError, match=f"no chain of basic blocks.*{told}"):
        tried(join)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_branch_gives_what_its_span_gives_in_shape(kind):
    supernet, frames = made(kind), frames_for(kind, 2)
    chain, base = supernet.chain, supernet.base
    taken, given = (see(base, chain.names, as_inputs(base, frames)) for see in (inputs_of, outputs_of))
    for branch in supernet.space.branches:
        assert supernet.block(branch)(taken[branch.start]).shape == given[branch.end - 1].shape, branch.name


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_path_works_and_the_base_is_itself(kind):
    base, frames = net(kind), frames_for(kind, 2)
    supernet = made(kind)
    paths = supernet.space.paths() if supernet.space.count < 200 else [
        through(supernet.space, b, random.Random(0)) for b in supernet.space.branches
    ]  # fmt: skip
    for path in paths:
        with supernet.on(path) as model:
            found = flat(model(as_inputs(model, frames)))
        assert all(bool(torch.isfinite(t).all()) for t in found if t.is_floating_point())
    for model in (supernet.base, supernet.model(supernet.space.base)):
        assert all(
            torch.equal(a, b)
            for a, b in zip(flat(model(as_inputs(model, frames))), flat(base(as_inputs(base, frames))), strict=True)
        )


def test_shrunk_blocks_are_multiples_of_eight_wide_and_none_is_there_twice():
    """The blocks of "basic" have 8, 16, 16 and 24 channels of their own."""
    supernet = made("basic")
    widths = {b.name: supernet.block(b).conv1.out_channels for b in supernet.space.branches if b.shrink}
    assert widths == {"1@0.5": 8, "2@0.5": 8, "3@0.25": 16}


def test_a_supernet_of_nothing_but_its_base_is_refused():
    with pytest.raises(ConfigError, match="becomes narrower or is merged"):
        expand(net("basic"), frames_for("basic"), spans=(), rates=(0.1,))
    assert [b.name for b in made("basic").space.branches if not b.original] == [
        b.name for b in new_branches(net("basic"), made("basic").chain, spans=SPANS, rates=RATES)
    ]


def test_what_is_no_path_is_refused_and_leaves_the_base_whole():
    supernet = made("basic")
    with pytest.raises(ConfigError, match=r"0\+0 is no path"), supernet.on((Branch(0), Branch(0))):
        pass
    assert find_chain(supernet.base, frames_for("basic", 1)) == supernet.chain


@pytest.mark.parametrize("kind", ["basic", "bottleneck", "inverted"])
@torch.no_grad()
def test_a_fitted_merge_is_closer_to_its_span_than_a_random_one(kind):
    """On frames that nothing was fitted to."""
    base, frames, fresh = net(kind), frames_for(kind, 8), frames_for(kind, 8, seed=2)
    names = find_chain(base, frames[:1]).names
    blocks = [base.get_submodule(name) for name in names]
    seen, unseen = inputs_of(base, names, frames), inputs_of(base, names, fresh)
    for start in range(len(blocks) - 1):
        span = blocks[start : start + 2]
        drawn = merged(span)
        fitted = copy.deepcopy(drawn)
        fit(fitted, seen[start], before_relu(span[-1], seen[start + 1]))
        last = ending(drawn)
        for conv, _ in ((last.conv, last.norm), *([last.shortcut] if last.shortcut else [])):
            if not bool(conv.weight.any()):
                conv.reset_parameters()
        wanted = span[-1](unseen[start + 1])
        off = {name: float((block(unseen[start]) - wanted).square().mean()) for name, block in
               (("fitted", fitted), ("random", drawn))}  # fmt: skip
        assert off["fitted"] < off["random"], (start, off)


@torch.no_grad()
def test_on_a_trained_network_a_fitted_merge_is_many_times_closer():
    """Shares of the variance of what the span gives, on digits that nothing was fitted to."""
    base = load_model("digits-mobilenet")
    shown = [DigitStream(name="a", place="campus", seed=0, role=role).read(range(16)).images.float() / 255
             for role in ("training", "terminal")]  # fmt: skip
    names = find_chain(base, shown[0][:1]).names
    start = names[3:5]
    (x, y), (fresh, wanted) = ((inputs_of(base, names, one)[3], outputs_of(base, names, one)[4]) for one in shown)
    blocks = [base.get_submodule(name) for name in start]
    drawn = merged(blocks)
    fitted = copy.deepcopy(drawn)
    fit(fitted, x, y)
    ending(drawn).conv.reset_parameters()
    off = [float((block(fresh) - wanted).square().mean() / wanted.var()) for block in (fitted, drawn)]
    assert off[0] < 0.3
    assert off[1] > 0.9


@torch.no_grad()
def test_a_fit_finds_a_last_layer_that_is_known():
    """Of a block whose last weights were lost, as if by the normal equations of somebody else: exactly."""
    base, frames = net("inverted"), frames_for("inverted")
    names = find_chain(base, frames[:1]).names
    x = inputs_of(base, names, frames)[1]
    block = base.get_submodule(names[1])
    lost = copy.deepcopy(block)
    ending(lost).conv.weight.mul_(0.5)
    fit(lost, x, block(x))
    fresh = inputs_of(base, names, frames_for("inverted", seed=5))[1]
    assert torch.allclose(lost(fresh), block(fresh), atol=0.05 * float(block(fresh).std()))


@torch.no_grad()
def test_recalibrated_statistics_are_those_of_the_frames():
    supernet, frames = made("inverted"), frames_for("inverted", 16, seed=3)
    base = copy.deepcopy(supernet.base.state_dict())
    for norm in (m for m in supernet.branches.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.fill_(7.0)
    recalibrate(supernet, frames, random.Random(0), batch_size=16)
    assert all(torch.equal(t, base[name]) for name, t in supernet.base.state_dict().items())
    first = supernet.block(Branch(0, 2)).conv[0][0]
    taken = inputs_of(supernet.base, supernet.chain.names[:1], frames)[0]
    norm = supernet.block(Branch(0, 2)).conv[0][1]
    assert torch.allclose(norm.running_mean, first(taken).mean((0, 2, 3)), atol=1e-5)
    assert not norm.training
    assert norm.momentum == 0.1


def test_paths_through_a_branch_are_all_as_likely():
    space = made("basic").space
    wanted = [path for path in space.paths() if Branch(1, 2) in path]
    drawn = [through(space, Branch(1, 2), random.Random(k)) for k in range(40 * len(wanted))]
    assert {*drawn} == {*wanted}
    assert max(drawn.count(path) for path in wanted) < 75  # 40 expected, 5.5 standard deviations
