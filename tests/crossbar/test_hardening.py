"""Training on the crossbar: it computes what the runtime computes, and its gradients are those that were meant."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.learned_ranges import give_ranges, learned_ranges
from nestevo_hw.base.seeding import derive_seed, torch_generator
from nestevo_hw.crossbar.devices import PRESETS, ConverterModel, DevicePreset, find_preset
from nestevo_hw.crossbar.hardening import CrossbarTraining, HardeningLayer, drawn_age
from nestevo_hw.crossbar.opening import closed_state, opened
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tiles import LayerTiles

DAY_S = 86_400.0
PERFECT = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0)
IDEAL = replace(PRESETS["ideal"], converters=PERFECT)
"""Cells without errors behind converters that do nothing but clip."""


def net() -> nn.Sequential:
    """A convolution that takes several tiles, and a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 5)).eval()


def inputs() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch_generator(0, "inputs"))


def layer_on(preset: DevicePreset, linear: nn.Linear, **how: float) -> HardeningLayer:
    """A linear layer in training; input range 1 and the ADCs' full scale 10 unless said."""
    tiles = LayerTiles("layer", linear, preset, (64, 64), 0)
    settings = {"input_range": 1.0, "output_bound": 10.0, **how}
    return HardeningLayer(tiles, linear, **settings)


def seeds_of(teacher: AnalogTeacher, training: CrossbarTraining, generation: int, age_s: float) -> None:
    """Give the tiles in training the random numbers of a teacher's."""
    for name, (_, layer) in training._layers.items():
        layer._tiles._seed = teacher.seed
        layer.draw(generation, age_s, derive_seed(teacher.seed, "io", name, generation, repr(age_s)))


@pytest.mark.parametrize("device", ["pcm", "hermes", "reram-cmo", "reram-wan", "sliced", "ladder", "calibrated"])
@pytest.mark.parametrize("age_s", [0.0, DAY_S])
def test_a_step_computes_bit_for_bit_what_the_runtime_does(device: str, age_s: float) -> None:
    pcm, io = PRESETS["pcm"], PRESETS["pcm"].converters
    assert io is not None
    own = {
        "sliced": replace(pcm, weight_bits=6, cell_bits=2),
        "ladder": replace(pcm, converters=replace(io, ir_drop=1.0, ir_drop_model="ladder", read_noise=0.02)),
        "calibrated": pcm.with_adc_range("calibrated"),
    }
    model, x = net(), inputs()
    teacher = AnalogTeacher(model, device=own.get(device, device), tile=64, seed=3)
    teacher.calibrate([x])
    teacher.program(generation=5)
    teacher.age(age_s)
    training = CrossbarTraining(model, teacher, seed=1)
    seeds_of(teacher, training, 5, age_s)
    found = x
    for module in model:
        analog = [layer for digital, layer in training._layers.values() if digital is module]
        found = analog[0](found) if analog else module(found)
    assert torch.equal(found, teacher.module(x))
    assert found.requires_grad


def test_without_errors_all_gradients_are_those_of_the_digital_layer() -> None:
    linear = nn.Linear(100, 6)
    layer, twin = layer_on(IDEAL, linear, input_range=100.0, output_bound=1e6), copy.deepcopy(linear)
    x = torch.randn(7, 100, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    layer.draw(0, 0.0, 0)
    layer(x).square().sum().backward()
    twin(y).square().sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4)
    for mine, theirs in ((linear.weight, twin.weight), (linear.bias, twin.bias)):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_rounding_passes_the_gradient_inside_the_range_and_clipping_stops_it() -> None:
    linear = nn.Linear(4, 1, bias=False)
    linear.weight.data.copy_(torch.tensor([[1.0, -0.5, 0.25, 0.125]]))
    layer = layer_on(replace(IDEAL, converters=replace(PERFECT, dac_bits=4)), linear, input_range=2.0)
    layer.draw(0, 0.0, 0)
    x = torch.tensor([[0.3, 1.9, 2.5, -7.0]], requires_grad=True)
    y = layer(x)
    y.sum().backward()
    # 4 bits: 14 steps over -2..2, so codes are multiples of 2/7; beyond the range the code is its end.
    codes = torch.tensor([round(0.3 * 3.5), round(1.9 * 3.5), 7, -7]) * 2 / 7
    assert float(y.detach()) == pytest.approx(float(codes @ linear.weight.detach()[0]), abs=1e-6)
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, -0.5, 0.0, 0.0]]
    # The range's own gradient (LSQ): code - x inside, the sign outside, times the weight; its logarithm is learned.
    inside = (codes - x.detach()[0])[:2] / 2.0
    wanted = float(inside @ linear.weight.detach()[0, :2]) + 0.25 * 1.0 + 0.125 * -1.0
    assert layer.speed_range.grad is not None
    assert float(layer.speed_range.grad) == pytest.approx(10.0 * 2.0 * wanted, rel=1e-5)


def test_a_clipped_sum_passes_no_gradient() -> None:
    linear = nn.Linear(2, 2, bias=False)
    linear.weight.data.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    layer = layer_on(replace(IDEAL, converters=replace(PERFECT, adc_bits=8)), linear, output_bound=1.5)
    layer.draw(0, 0.0, 0)
    x = torch.tensor([[0.9, 0.8]], requires_grad=True)  # sums of 1.7, clipped at 1.5, and 0.1
    layer(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[1.0, -1.0]]))
    assert linear.weight.grad is not None
    torch.testing.assert_close(linear.weight.grad, torch.tensor([[0.0, 0.0], [0.9, 0.8]]))


@pytest.mark.parametrize("device", ["pcm", "reram-wan"])
@pytest.mark.parametrize("age_s", [0.0, 1.0, DAY_S])
def test_noise_in_training_has_the_statistics_of_the_runtime(device: str, age_s: float) -> None:
    """Mean and spread of effective weights, over programmings in training and over those of a teacher."""
    linear = nn.Linear(40, 30, bias=False)
    linear.weight.data.copy_(torch.linspace(-1.0, 1.0, 1200).reshape(30, 40))
    teacher = AnalogTeacher(linear, device=find_preset(device).perfect_io(), tile=64, seed=11)
    training = CrossbarTraining(linear, teacher, seed=99)
    runtime, trained, count = [], [], 60
    for number in range(count):
        teacher.program(generation=number)
        teacher.age(age_s)
        runtime.append(teacher.effective_weights[""])
        with training.on_crossbar(number, age_s):
            trained.append(linear(torch.eye(40)).detach().T)
    a, b = torch.stack(runtime) - linear.weight.detach(), torch.stack(trained) - linear.weight.detach()
    # Of 72 000 independent errors: the mean has a standard error of s / sqrt(n), the deviation of about the same.
    error = float(a.std()) * 5.0 / math.sqrt(a.numel())
    assert float(a.mean()) == pytest.approx(float(b.mean()), abs=error)
    assert float(a.std()) == pytest.approx(float(b.std()), abs=3 * error)
    assert not torch.equal(a, b)


def test_every_programming_is_another_and_its_number_repeats_it() -> None:
    model, x = net(), inputs()
    teacher = AnalogTeacher(model, tile=64)
    teacher.calibrate([x])
    training = CrossbarTraining(model, teacher, seed=1)

    def output(number: int) -> Tensor:
        with training.on_crossbar(number, DAY_S):
            return model(x).detach()

    assert torch.equal(output(4), output(4))
    assert not torch.equal(output(4), output(5))
    digital = copy.deepcopy(model)
    assert torch.equal(model(x), digital(x))  # outside of a step the model is digital


def test_weights_and_ranges_learn() -> None:
    model, x = net(), inputs()
    clean = copy.deepcopy(model)
    teacher = AnalogTeacher(model, tile=64)
    teacher.calibrate([x])
    training = CrossbarTraining(model, teacher, seed=1)
    before = training.input_ranges
    assert before == pytest.approx(teacher.input_ranges, rel=1e-5)
    optimiser = torch.optim.Adam([*model.parameters(), *training.parameters()], lr=1e-3)
    losses = []
    for number in range(40):
        optimiser.zero_grad()
        with training.on_crossbar(number, DAY_S):
            loss = (model(x) - clean(x)).square().mean()
            loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert all(training.input_ranges[name] != pytest.approx(before[name], rel=1e-2) for name in before)


def test_drop_connect_empties_its_share_of_the_cells() -> None:
    linear = nn.Linear(64, 64, bias=False)
    linear.weight.data.fill_(0.5).view(-1)[::2] = 1.0
    layer = layer_on(IDEAL, linear, input_range=10.0, output_bound=1e6, drop_connect=0.25)
    layer.draw(0, 0.0, 7)
    empty = layer(torch.eye(64)) == 0.0
    # 4096 cells: standard deviation 0.0068.
    assert float(empty.float().mean()) == pytest.approx(0.25, abs=0.03)


def test_clipping_cuts_the_outliers_of_every_output() -> None:
    model = nn.Sequential(nn.Linear(50, 3))
    weight = model[0].weight
    weight.data.normal_(generator=torch_generator(0, "w"))
    weight.data[1] *= 10.0
    limits = weight.detach().square().mean(1).sqrt() * 1.5
    before = weight.detach().clone()
    teacher = AnalogTeacher(model, device="pcm", tile=64)
    teacher.calibrate([torch.randn(4, 50)])
    CrossbarTraining(model, teacher, seed=0).clip_weights(1.5)
    torch.testing.assert_close(weight.detach().abs().amax(1), limits)
    kept = before.abs() <= limits[:, None]
    assert torch.equal(weight.detach()[kept], before[kept])


def test_ages_are_log_uniform_or_those_that_were_measured() -> None:
    random = torch_generator(0, "ages")
    ages = torch.tensor([drawn_age(PRESETS["pcm"], 1e4, random) for _ in range(2000)]).log10()
    # Uniform on 0..4: mean 2, standard error 0.026.
    assert float(ages.mean()) == pytest.approx(2.0, abs=0.1)
    assert (float(ages.min()) >= 0.0, float(ages.max()) <= 4.0) == (True, True)
    assert {drawn_age(PRESETS["reram-wan"], DAY_S, random) for _ in range(50)} == {1.0, DAY_S}
    assert drawn_age(PRESETS["pcm"], 0.0, random) == 0.0
    assert drawn_age(PRESETS["pcm"], 0.5, random) == 0.5
    with pytest.raises(ConfigError, match="characterised only at"):
        drawn_age(PRESETS["reram-wan"], 60.0, random)


def test_input_noise_is_refused() -> None:
    io = PRESETS["pcm"].converters
    assert io is not None
    teacher = AnalogTeacher(net(), device=replace(PRESETS["pcm"], converters=replace(io, input_noise=0.01)), tile=64)
    with pytest.raises(ConfigError, match="input noise"):
        CrossbarTraining(net(), teacher, seed=0)


def test_a_teacher_takes_the_ranges_that_a_model_has_learned(tmp_path: Path) -> None:
    model = net()
    give_ranges(model, {"input_ranges": '{"0": 1.25, "no layer": 3.0}'}, tmp_path / "model.safetensors")
    teacher = AnalogTeacher(copy.deepcopy(model), tile=64)
    teacher.calibrate([inputs()])
    seen = AnalogTeacher(net(), tile=64)
    seen.calibrate([inputs()])
    assert teacher.input_ranges == {"0": 1.25, "3": seen.input_ranges["3"]}
    assert learned_ranges(net()) == {}


def test_an_opened_state_has_its_old_names_again() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    state = model.state_dict()
    closed = closed_state(opened(model), opened(model).state_dict())
    assert closed.keys() == state.keys()
    assert all(torch.equal(closed[name], state[name]) for name in state)


@pytest.mark.parametrize("layer", [nn.Conv2d(64, 64, 3, groups=64), nn.Conv2d(64, 16, 3), nn.Linear(64, 64)])
def test_clipping_takes_few_weights_and_not_more_of_a_depthwise_layer(layer: nn.Module) -> None:
    """Of Gaussian weights 5 % lie beyond two root mean squares; clipping again and again cuts little more."""
    torch.manual_seed(0)
    model = nn.Sequential(layer)
    weight = layer.get_parameter("weight")
    nn.init.normal_(weight)
    before = weight.detach().clone()
    shape = (2, 64, 5, 5) if weight.dim() == 4 else (2, 64)
    teacher = AnalogTeacher(model.eval(), device="pcm", tile=256, grouped=True)
    teacher.calibrate([torch.rand(shape)])
    training = CrossbarTraining(model, teacher, seed=0)
    training.clip_weights(2.0)
    assert float((weight != before).float().mean()) < 0.08
    for _ in range(50):
        training.clip_weights(2.0)
    assert float(weight.detach().norm() / before.norm()) > 0.85


def test_clipping_leaves_weights_of_one_size_alone() -> None:
    """The root mean square is about zero, where the clipping is: a blur has no deviation, and is no outlier."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 1, bias=False)).eval()
    nn.init.constant_(model[0].weight, 1 / 3)
    kept = [p.detach().clone() for p in model.parameters()]
    teacher = AnalogTeacher(model, device="pcm", tile=256)
    teacher.calibrate([torch.rand(4, 3)])
    CrossbarTraining(model, teacher, seed=0).clip_weights(2.0)
    assert all(torch.equal(p, was) for p, was in zip(model.parameters(), kept, strict=True))
