"""The crossbar on a GPU: nothing is left behind on the CPU, and products are IEEE whatever torch is set to."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.hardening import CrossbarTraining
from nestevo_hw.crossbar.ieee import exact, ieee_products
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.partial import PartlyAnalog
from nestevo_hw.crossbar.signal import OutputProbe, layer_signals
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.testing.waits import waits_found
from tests.pretended_gpu import GPU, pretended_gpu

PRESETS = ("ideal", "pcm", "hermes", "reram-cmo", "reram-wan")
AGES = {"reram-wan": 86_400.0}


class Net(nn.Module):
    """Convolutions of two kinds, BatchNorm and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 20, 3, padding=1), nn.BatchNorm2d(20)
        self.second, self.head = nn.Conv2d(20, 8, 3, groups=2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(torch.relu(self.second(torch.relu(self.norm(self.first(x))))).mean((2, 3)))
        return found


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def batches(device: torch.device | str) -> list[Tensor]:
    return [torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(k)).to(device) for k in range(2)]


def programmed(device: torch.device | str, preset: str, backend: Backend = "auto", **changes: bool) -> AnalogTeacher:
    teacher = AnalogTeacher(net().to(device), device=preset, tile=16, backend=backend, **changes)  # type: ignore[arg-type]
    teacher.calibrate(batches(device))
    teacher.program()
    teacher.age(AGES.get(preset, 3600.0))
    return teacher


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_programming_and_ageing_leave_nothing_on_the_cpu(preset: str, grouped: bool) -> None:
    with pretended_gpu():
        teacher = programmed(GPU, preset, grouped=grouped)
        found = teacher.module(batches(GPU)[0])
        assert found.device == GPU
        assert bool(found.isfinite().all())
        assert all(0.0 <= error < 0.5 for error in teacher.weight_errors().values())


@pytest.mark.parametrize("preset", ["ideal", "pcm", "hermes"])
def test_nothing_that_passes_through_the_crossbar_waits_for_the_gpu(preset: str) -> None:
    with pretended_gpu():
        teacher, batch = programmed(GPU, preset), batches(GPU)[0]
        with waits_found() as found:
            teacher.module(batch)
        with teacher.with_gradients(), waits_found() as learning:
            teacher.module(batch.requires_grad_()).sum().backward()
    assert [*found, *learning] == []


@pytest.mark.parametrize("preset", ["reram-cmo", "reram-wan"])
def test_cells_of_aihwkits_models_are_the_same_on_every_device(preset: str) -> None:
    expected = programmed("cpu", preset).effective_weights
    with pretended_gpu():
        got = {name: weight.cpu() for name, weight in programmed(GPU, preset).effective_weights.items()}
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in got)


def test_signals_probes_and_partly_analog_models_compute_there() -> None:
    with pretended_gpu():
        teacher = programmed(GPU, "pcm")
        assert all(signal.output_error for signal in layer_signals(teacher, batches(GPU)).values())
        partly = PartlyAnalog(teacher, age_s=60.0)
        probe = OutputProbe(partly.model((), 0), batches(GPU))
        assert 0.0 < probe.error(partly.model(("head",), 1)) < 1.0


def test_a_teacher_is_stored_there_and_read_anywhere(tmp_path: Path) -> None:
    with pretended_gpu():
        teacher = programmed(GPU, "pcm")
        teacher.save(tmp_path / "teacher.safetensors")
        kept = {name: weight.cpu() for name, weight in teacher.effective_weights.items()}
        again = AnalogTeacher.load(tmp_path / "teacher.safetensors", net().to(GPU))
        assert all(torch.equal(w.cpu(), kept[name]) for name, w in again.effective_weights.items())
        assert again.module(batches(GPU)[0]).device == GPU
    here = AnalogTeacher.load(tmp_path / "teacher.safetensors", net())
    assert all(torch.equal(weight, kept[name]) for name, weight in here.effective_weights.items())


def test_a_step_of_training_on_the_crossbar_stays_there() -> None:
    with pretended_gpu():
        teacher = programmed(GPU, "pcm")
        model = net().to(GPU).requires_grad_()
        crossbar = CrossbarTraining(model, teacher, seed=0, drop_connect=0.1)
        assert {parameter.device for parameter in crossbar.parameters()} == {GPU}
        with crossbar.on_crossbar(1, 60.0):
            model(batches(GPU)[0]).square().mean().backward()
        assert all(parameter.grad is not None for parameter in crossbar.parameters())
        crossbar.clip_weights(2.0)


class Watched(nn.Linear):
    """Says what torch is set to while it computes."""

    seen: list[tuple[str, str]]

    def forward(self, input: Tensor) -> Tensor:
        self.seen.append((torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
        return super().forward(input)


def test_products_on_a_gpu_are_ieee_and_the_switches_come_back() -> None:
    convolution, matmul = torch.backends.cudnn.conv.fp32_precision, torch.get_float32_matmul_precision()
    assert convolution == "tf32", "what torch lets cuDNN do"
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with pretended_gpu():
            layer = exact(Watched(3, 2).to(GPU))
            layer.seen = []
            layer(torch.ones(1, 3, device=GPU))
            assert layer.seen in ([("ieee", "ieee")], [("ieee", "none")])
        assert isinstance(layer, Watched)
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.set_float32_matmul_precision(matmul)


def test_the_switches_come_back_between_the_slices_of_a_layer() -> None:
    with pretended_gpu():
        layer = programmed(GPU, "pcm").module.head
        assert isinstance(layer, FusedLayer)
        for _ in layer.output_codes(torch.ones(1, 8, device=GPU)):
            assert torch.backends.cudnn.conv.fp32_precision == "tf32"


@pytest.mark.parametrize(("preset", "backend"), [("pcm", "fused"), ("pcm", "reference"), ("ideal", "fold")])
def test_autocast_does_not_reach_the_crossbar(preset: str, backend: Backend) -> None:
    teacher, frames = programmed("cpu", preset, backend), batches("cpu")[0]
    layer: nn.Module = teacher.module.get_submodule("first")
    expected = layer(frames)
    teacher.age(3600.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nn.functional.linear(torch.ones(1, 2), torch.ones(1, 2)).dtype == torch.bfloat16
        got = layer(frames)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)


def test_a_block_that_fails_leaves_the_switches_as_they_were() -> None:
    with pytest.raises(ZeroDivisionError), ieee_products(GPU):
        raise ZeroDivisionError
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


@pytest.mark.gpu
@pytest.mark.parametrize("preset", PRESETS)
def test_a_gpu_computes_what_the_cpu_does_from_the_same_cells(preset: str) -> None:
    """Cells programmed on the CPU and moved; without noise only sums are added in another order."""
    teacher = AnalogTeacher(net(), device=preset, tile=16)
    teacher.calibrate(batches("cpu"))
    teacher.program()
    silent = [layer for layer in teacher.module.modules() if isinstance(layer, FusedLayer)]
    for layer in silent:
        layer._converters = type(layer._converters)(
            dac_bits=8, adc_bits=8, output_noise=0.0, output_bound=layer.output_bound
        )
        layer._equally_noisy = False
    frames = batches("cpu")[0]
    expected = teacher.module(frames)
    got = teacher.module.to("cuda")(frames.to("cuda")).cpu()
    assert float((got - expected).square().mean().sqrt()) < 0.02 * float(expected.square().mean().sqrt())


@pytest.mark.gpu
@pytest.mark.parametrize("preset", PRESETS)
def test_weight_errors_on_a_gpu_are_those_of_the_cpu(preset: str) -> None:
    """Other noise of the same distribution: 20 x 27 cells and more, so a layer's RMS error is known within 15 %."""
    here, there = programmed("cpu", preset), programmed("cuda", preset)
    assert {weight.device.type for weight in there.effective_weights.values()} == {"cuda"}
    for name, error in here.weight_errors().items():
        assert math.isclose(there.weight_errors()[name], error, rel_tol=0.3, abs_tol=1e-6), name


@pytest.mark.gpu
def test_aihwkits_own_tile_computes_on_a_gpu() -> None:
    teacher = programmed("cuda", "pcm", "reference")
    expected = programmed("cpu", "pcm", "reference").module(batches("cpu")[0])
    got = teacher.module(batches("cuda")[0])
    assert got.device.type == "cuda"
    assert float((got.cpu() - expected).square().mean().sqrt()) < 0.5 * float(expected.square().mean().sqrt())


@pytest.mark.gpu
def test_tf32_does_not_reach_the_crossbar_on_a_gpu() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 32, 3).eval()
    teacher = AnalogTeacher(layer.to("cuda"), device="ideal", tile=256)
    teacher.program()
    x = torch.rand(4, 64, 16, 16, device="cuda")
    exactly = nn.functional.conv2d(x.double(), layer.weight.double(), layer.bias.double())  # type: ignore[union-attr]
    error = float((teacher.module(x).double() - exactly).abs().max())
    assert error < 1e-5, "TF32 errs by about 1e-3 here"
