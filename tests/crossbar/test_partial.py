"""A partly analog model is, bit for bit, the teacher with the other layers kept digital."""

import copy
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.crossbar import partial
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.partial import PartlyAnalog
from nestevo_hw.crossbar.teacher import AnalogTeacher

DAY_S = 86_400.0


class Net(nn.Module):
    """A convolution, BatchNorm, a layer that is used twice under two names and once more in a list, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.shared = nn.Linear(12, 12)
        self.again = self.shared
        self.unregistered = [self.shared]
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.conv(x)).relu().mean((2, 3))
        for layer in (self.shared, self.again, *self.unregistered):
            h = layer(h).relu()
        return self.head(h)


def _net() -> Net:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.norm.running_mean.normal_()
        net.norm.running_var.uniform_(0.5, 2.0)
    return net.eval()


X = torch.rand(4, 3, 10, 10, generator=torch.Generator().manual_seed(1))
NAMES = ("conv", "shared", "head")


def _teacher(backend: Backend, keep_digital: tuple[str, ...] = ()) -> AnalogTeacher:
    preset = find_preset("pcm", perfect_io=backend == "fold")
    teacher = AnalogTeacher(_net(), device=preset, tile=8, seed=3, keep_digital=keep_digital, backend=backend)
    teacher.calibrate([X])
    return teacher


@pytest.mark.parametrize("backend", ["fold", "fused", "reference"])
def test_any_set_of_layers_equals_a_teacher_converted_for_it(backend: Backend) -> None:
    partly = PartlyAnalog(_teacher(backend), age_s=DAY_S)
    assert [layer.name for layer in partly.layers] == list(NAMES)
    for count in (1, 2, 3):
        for analog in combinations(NAMES, count):
            teacher = _teacher(backend, tuple(name for name in NAMES if name not in analog))
            for programming in (2, 0):
                teacher.program(generation=programming)
                teacher.age(DAY_S)
                assert torch.equal(partly.model(analog, programming)(X), teacher.module(X)), (analog, programming)


def test_without_analog_layers_it_is_the_digital_model() -> None:
    partly = PartlyAnalog(_teacher("fused"))
    partly.model(NAMES, 0)(X)
    assert torch.equal(partly.model((), 0)(X), _net()(X))


def test_noise_begins_anew_with_every_call() -> None:
    partly = PartlyAnalog(_teacher("fused"))
    first = partly.model(["head"], 1)(X)
    advanced = partly.model(["head"], 1)
    assert torch.equal(advanced(X), first)
    assert not torch.equal(advanced(X), first)
    partly.model(["conv", "shared"], 0)(X)
    assert torch.equal(partly.model(["head"], 1)(X), first)


def test_programmings_that_are_forgotten_come_back_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = PartlyAnalog(_teacher("fused"))
    monkeypatch.setattr(partial, "_KEPT_BYTES", 1)
    forgetful = PartlyAnalog(_teacher("fused"))
    for programming in (0, 1, 2, 0, 1):
        assert torch.equal(kept.model(NAMES, programming)(X), forgetful.model(NAMES, programming)(X))
    assert len(forgetful._kept) == 1
    assert len(kept._kept) == 3


def test_a_model_that_is_one_layer() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4), torch.rand(3, 6)
    teacher = AnalogTeacher(copy.deepcopy(layer), device=find_preset("pcm", perfect_io=True))
    partly = PartlyAnalog(teacher)
    assert torch.equal(partly.model((), 0)(x), layer(x))
    teacher.program()
    assert torch.equal(partly.model([""], 0)(x), teacher.module(x))
    assert not torch.equal(partly.model([""], 0)(x), layer(x))
