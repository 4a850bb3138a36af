"""A terminal leaves its path only for one that is clearly better, and what is trained belongs to all that share it."""

from dataclasses import dataclass, field

import pytest
import torch

from nestevo_hw.base.documents import plain, write_json
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.evolution.elastic.choosing import Frames, choose_path
from nestevo_hw.evolution.elastic.config import ElasticTerminalsConfig
from nestevo_hw.evolution.elastic.latency import budgets_of, given_times, modelled_times, shares_of_base
from nestevo_hw.evolution.scenario import TerminalConfig
from nestevo_hw.models.elastic.space import Branch, PathSpace
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.terminals.elastic.edge import Timing
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyErrors, LatencyModel
from tests.models.elastic.nets import frames_for, net

BLOCKS = tuple(Branch(k) for k in range(10))
NARROW = tuple(Branch(k, 1, 0.5) if k == 9 else Branch(k) for k in range(10))
MERGED = (Branch(0, 2), *BLOCKS[2:])


@pytest.fixture(scope="module")
def supernet():
    return expand(net("mobilenet"), frames_for("mobilenet"), spans=(2,), rates=(0.5,))


@dataclass
class Judge:
    """A task that scores models by a list, and tells which had their statistics taken anew."""

    scores: list[float]
    seen: list[torch.nn.Module] = field(default_factory=list)
    anew: list[torch.nn.Module] = field(default_factory=list)

    def predict(self, model, _images):
        self.seen.append(model)
        return []

    def score(self, *_):
        return {"score": self.scores[len(self.seen) - 1]}

    def re_estimate(self, model, _images):
        self.anew.append(model)


def chosen(supernet, scores, *, trained, margin=0.02):
    judge, live = Judge(scores), supernet.model(BLOCKS)
    frames = Frames(images=torch.zeros(4, 3, 32, 32, dtype=torch.uint8), labels=[], classes=10, task=judge)
    choice = choose_path(supernet, live, [NARROW, MERGED], frames.images, frames, margin, trained=trained)
    assert choice.model is judge.seen[choice.index]
    assert choice.scores == pytest.approx(scores, nan_ok=True)
    return choice.index, [judge.anew.count(model) for model in judge.seen]


@pytest.mark.parametrize(
    ("scores", "index"),
    [
        ([0.5, 0.51, 0.515], 0),  # better by less than the margin
        ([0.5, 0.53, 0.56], 2),
        ([0.5, 0.56, 0.53], 1),
        ([0.5, 0.2, 0.5], 0),
        ([float("nan"), float("nan"), float("nan")], 0),  # nothing to find: nothing speaks for a change
    ],
)
def test_another_path_has_to_be_better_by_the_margin(supernet, scores, index):
    assert chosen(supernet, scores, trained=False) == (index, [1, 1, 1])


def test_what_has_just_been_trained_keeps_the_statistics_of_its_training(supernet):
    assert chosen(supernet, [0.5, 0.6, 0.4], trained=True) == (1, [0, 1, 1])


def test_a_trained_path_gives_the_others_what_they_share_with_it_and_nothing_else():
    supernet = expand(net("mobilenet"), frames_for("mobilenet"), spans=(2,), rates=(0.5,))
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    trained = supernet.model(MERGED)
    with torch.no_grad():
        for tensor in (*trained.parameters(), *trained.buffers()):
            tensor.add_(1)
    supernet.absorb(MERGED, trained)
    changed = {name for name, tensor in supernet.state_dict().items() if not torch.equal(tensor, before[name])}
    first, second = supernet.chain.names[:2]
    own = {name for name in before if name.startswith(("base.", "branches.0-1."))}
    replaced = {name for name in own if name.startswith((f"base.{first}.", f"base.{second}."))}
    assert changed == own - replaced
    again = supernet.model(MERGED).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in trained.state_dict().items())
    images = frames_for("mobilenet", 2)
    shared = supernet.model(NARROW).state_dict()
    assert all(torch.equal(shared[name], trained.state_dict()[name]) for name in shared if "body.5." in name)
    with supernet.on(NARROW) as model, torch.no_grad():
        assert model(images).shape == (2, 10)


def test_modelled_times_are_the_multiplications_of_the_layers(supernet):
    counted = {}

    def count(name):
        def hook(layer, _, output):
            if isinstance(layer, torch.nn.Conv2d):
                each = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
            else:
                each = layer.in_features
            counted[name] = each * output[0].numel()

        return hook

    model = supernet.model(MERGED)
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count(name))
    model(frames_for("mobilenet", 1))
    modelled = modelled_times(supernet, torch.zeros(3, 32, 32))
    assert modelled.time(MERGED) * 1e9 == pytest.approx(sum(counted.values()))
    config = ElasticTerminalsConfig(latency="macs")
    shares = shares_of_base(config, supernet, {"a": supernet.model(MERGED), "b": supernet.model(BLOCKS)}, (32, 32))
    assert shares["a"] == pytest.approx(modelled.time(MERGED) / modelled.time(BLOCKS))
    assert shares["b"] == 1


SPACE = PathSpace(2, (Branch(0), Branch(0, 2), Branch(1)))
TIMES = LatencyModel((BranchTime(Branch(0), 0.4), BranchTime(Branch(0, 2), 0.3), BranchTime(Branch(1), 0.5)), 0.1)


def test_a_budget_that_no_path_keeps_to_says_which_one_would_do():
    terminals = (
        TerminalConfig(name="a", latency_budget=0.4, place="x"), TerminalConfig(name="b", model="m", place="x"),
        TerminalConfig(name="c", model="m", place="x"),
    )  # fmt: skip
    assert budgets_of(terminals, SPACE, TIMES, {"b": 1.7}) == {"a": 0.4, "b": 1.0}
    with pytest.raises(ConfigError, match=r"'b': m in elastic.in_place_of_models: .* fastest one takes 0\.400"):
        budgets_of(terminals, SPACE, TIMES, {"b": 0.39})


def test_a_table_that_lacks_a_branch_is_refused(supernet, tmp_path):
    timing = Timing(model=TIMES, base_s=1.0, off=LatencyErrors(paths=1, p50=0.0, p95=0.0, worst=0.0))
    write_json(tmp_path / "timing.json", plain(timing))
    with pytest.raises(InputError, match=r"timing\.json: no time of branch 0@0\.5"):
        given_times(tmp_path / "timing.json", supernet)
