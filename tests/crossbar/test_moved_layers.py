"""A layer that was programmed on one device and computes on another, where the variance has another usual format."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from nestevo_hw.crossbar import layers
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher


@pytest.mark.parametrize("format_there", [torch.float32, torch.bfloat16])
def test_read_noise_keeps_the_format_that_it_was_installed_with(
    format_there: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = find_preset("pcm")
    assert pcm.converters is not None
    noisy = replace(pcm, converters=replace(pcm.converters, read_noise=0.02, read_noise_law="pcm"))
    torch.manual_seed(0)
    frames = torch.rand(4, 3, 8, 8)
    teacher = AnalogTeacher(nn.Sequential(nn.Conv2d(3, 4, 3)), device=noisy, tile=16, seed=1)
    teacher.calibrate([frames])
    teacher.program()
    here = teacher.module(frames)
    teacher.age(0.0)  # noise starts again
    monkeypatch.setattr(layers, "_variance_dtype", lambda _: format_there)
    assert torch.equal(teacher.module(frames), here)


@pytest.mark.parametrize(
    ("device", "capability", "wanted"),
    [
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda", (9, 4), torch.bfloat16),
        ("cuda", (7, 5), torch.float32),  # there products in bfloat16 are emulated, or refused
        ("mps", None, torch.float32),
    ],
)
def test_the_variance_is_in_bfloat16_where_the_device_computes_in_it(
    device: str, capability: tuple[int, int] | None, wanted: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert layers._variance_dtype(torch.device(device)) == wanted
