"""Layers on the crossbar whose input has its channels last in memory, which convolutions are faster with."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher

IMAGES = torch.rand(4, 29, 12, 10, generator=torch_generator(0, "images"))


def teacher(**changes: float | str) -> AnalogTeacher:
    preset = find_preset("pcm")
    assert preset.converters is not None
    device = replace(preset, converters=replace(preset.converters, **changes))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(29, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 1)).eval()
    analog = AnalogTeacher(model, device=device, tile=128, seed=1)
    analog.calibrate([IMAGES])
    analog.program()
    return analog


def last(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def test_the_order_changes_no_value() -> None:
    module = teacher(output_noise=0.0).module
    plain, other = module(IMAGES), module(last(IMAGES))
    assert other.is_contiguous(memory_format=torch.channels_last)
    # Sums in another order may fall to the other side of a border between two codes.
    apart = (plain - other).abs() > 1e-5
    assert apart.float().mean() < 0.01
    assert torch.equal(module[0](IMAGES[:, :, :1, :1]), module[0](last(IMAGES[:, :, :1, :1])))


@pytest.mark.parametrize("changes", [{}, {"read_noise": 0.05, "read_noise_law": "pcm"}, {"read_noise": 0.05}])
def test_noise_has_the_same_strength_at_every_place(changes: dict[str, float | str]) -> None:
    analog = teacher(output_noise=0.1, adc_bits=0, **changes)
    layer, clean = analog.module[0], teacher(output_noise=0.0, adc_bits=0).module[0]
    deviations = []
    for images in (IMAGES, last(IMAGES)):
        noise = torch.stack([layer(images) - clean(images) for _ in range(150)])
        deviations.append(noise.std(0))
    # The standard deviation of 150 values is known to 6 %: of one place to within five times that, of all to 0.1 %.
    torch.testing.assert_close(deviations[0], deviations[1], rtol=0.5, atol=0.0)
    ratio = (deviations[0] / deviations[1]).mean((0, 2, 3))
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.02, atol=0.0)
