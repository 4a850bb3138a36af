"""Gradients through a crossbar that stays as it is: it computes what it did, and hands the right gradient on."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.crossbar.devices import PRESETS, DevicePreset
from nestevo_hw.crossbar.teacher import AnalogTeacher


def inputs() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch_generator(0, "inputs"))


def teacher_on(device: DevicePreset, age_s: float = 86_400.0) -> AnalogTeacher:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 5)).eval()
    teacher = AnalogTeacher(model, device=device, tile=64)
    teacher.calibrate([inputs()])
    teacher.program()
    teacher.age(age_s)
    return teacher


@pytest.mark.parametrize("device", ["pcm", "hermes", "reram-wan"])
def test_it_computes_bit_for_bit_what_it_does_without_gradients(device: str) -> None:
    teacher = teacher_on(PRESETS[device])
    plain = teacher.module(inputs())
    teacher.age(86_400.0)  # the noise of the products begins again
    with teacher.with_gradients():
        passing = teacher.module(inputs().requires_grad_())
    assert passing.requires_grad
    assert torch.equal(passing.detach(), plain)
    teacher.age(86_400.0)
    assert torch.equal(teacher.module(inputs()), plain)


def test_the_gradient_is_that_of_the_weights_that_the_cells_hold() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 100, generator=torch_generator(0, "inputs"))
    teacher = AnalogTeacher(
        nn.Sequential(nn.Linear(100, 5)).eval(), device=PRESETS["pcm"].with_adc_range("fixed"), tile=64
    )
    teacher.calibrate([x])
    teacher.program()
    teacher.age(86_400.0)
    image = (2.0 * x).requires_grad_()  # part of it beyond the range of the DAC
    factors = torch.randn(6, 5, generator=torch_generator(1, "factors"))
    with teacher.with_gradients():
        (teacher.module(image) * factors).sum().backward()
    inside = (2.0 * x).abs() < teacher.input_ranges["0"]
    assert 0.5 < inside.float().mean() < 1.0
    wanted = (factors @ teacher.effective_weights["0"]) * inside
    assert image.grad is not None
    torch.testing.assert_close(image.grad, wanted, atol=1e-5, rtol=1e-5)


def test_input_noise_has_no_gradient() -> None:
    io = PRESETS["pcm"].converters
    assert io is not None
    teacher = teacher_on(replace(PRESETS["pcm"], converters=replace(io, input_noise=0.01)))
    with pytest.raises(ConfigError, match="input_noise"), teacher.with_gradients():
        pass
