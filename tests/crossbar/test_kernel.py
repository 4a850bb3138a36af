"""The kernel in Triton's interpreter, against aihwkit's tiles, native operations and closed formulas."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_cases import ALLOWED, ANALOG, QUIET, both, by_vector, on_tiles, reference_codes
from torch import nn

from nestevo_hw.base.errors import ConfigError, InputError, MappingError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.crossbar import backend as backend_module
from nestevo_hw.crossbar.backend import choose_backend
from nestevo_hw.crossbar.devices import ConverterModel, find_preset
from nestevo_hw.crossbar.geometry import Layer
from nestevo_hw.crossbar.gpu import launch
from nestevo_hw.crossbar.gpu.operands import Precision, usable
from nestevo_hw.crossbar.teacher import AnalogTeacher

triton = pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(not launch.interpreted(), reason="the kernel is compiled for a GPU in this run")


@pytest.mark.parametrize("precision", list(ALLOWED))
@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Linear(150, 33), (100, 150)), (nn.Conv2d(17, 21, 3, stride=2, padding=1), (1, 17, 17, 15))],
    ids=["linear", "convolution"],
)
def test_codes_are_those_of_aihwkits_tiles(layer: Layer, shape: tuple[int, ...], precision: Precision) -> None:
    torch.manual_seed(0)
    nn.init.uniform_(layer.weight, -1.0, 1.0)
    x = torch.randn(shape)  # a third lies beyond the DAC's range
    _, kernel = both(layer, QUIET, (64, 32), precision=precision)
    expected = reference_codes(on_tiles(layer, QUIET, (64, 32)), layer, x, 1.0)
    got = by_vector(torch.stack(list(kernel.output_codes(x))), layer)
    assert got.shape == expected.shape
    assert torch.equal(got, got.round())
    difference = (got - expected).abs()
    assert difference.max() <= 1.01
    differing = int((difference > 0.5).sum())
    assert differing <= max(1.0, ALLOWED[precision] * difference.numel())
    # Weights of eleven bits do show, so nothing computes with more than it says.
    assert (differing > 1) == (precision == "tf32")


LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "stride, padding, dilation": (nn.Conv2d(18, 7, (3, 2), (2, 1), (1, 2), (1, 2)), (2, 18, 9, 8)),
    "point": (nn.Conv2d(70, 5, 1), (1, 70, 3, 5)),
    "few channels": (nn.Conv2d(3, 7, 3, 2, 1), (2, 3, 9, 8)),
    "same, uneven": (nn.Conv2d(16, 4, (2, 3), padding="same", bias=False), (1, 16, 5, 6)),
    "mirrored border": (nn.Conv2d(16, 4, 3, padding=1, padding_mode="reflect"), (1, 16, 5, 6)),
    "one image": (nn.Conv2d(16, 4, 3), (16, 5, 6)),
    "line": (nn.Conv1d(17, 5, 3, padding=2, dilation=2), (2, 17, 12)),
    "few channels in a line": (nn.Conv1d(4, 5, 3, padding=2), (4, 12)),
    "transposed": (nn.ConvTranspose2d(7, 5, 3, stride=2), (2, 7, 4, 3)),
    "one band of groups": (nn.Conv2d(8, 6, 3, groups=2), (2, 8, 5, 5)),
    "sequence": (nn.Linear(41, 9), (2, 3, 41)),
    "vector": (nn.Linear(41, 1), (41,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_shape_of_layer_computes_what_native_operations_do(name: str) -> None:
    torch.manual_seed(1)
    layer, shape = LAYERS[name]
    tile = (40, 30) if layer.weight[0].numel() * getattr(layer, "groups", 1) > 80 else (80, 30)
    fused, kernel = both(layer, QUIET, tile)
    x = torch.randn(shape)
    got, expected = kernel(x), fused(x)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=0.0, atol=2e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("precision", ["fixed", "float16x2", "float32"])
@pytest.mark.parametrize(
    "effect",
    [{"ir_drop": 20.0}, {"ir_drop": 20.0, "ir_drop_model": "ladder"}, {"adc_inl": 2.0}, {"column_calibration": True}],
    ids=["drop", "ladder", "inl", "columns"],
)
def test_effects_before_and_after_the_adc_are_those_of_native_operations(
    effect: dict[str, object], precision: Precision
) -> None:
    torch.manual_seed(2)
    layer, x = nn.Linear(70, 30), torch.randn(40, 70)
    converters = replace(QUIET, **effect, adc_bits=0 if "ir_drop" in effect else 8)  # type: ignore[arg-type]
    tiles = on_tiles(layer, converters)
    if converters.column_calibration:
        tiles.correction = torch.rand(2, len(tiles.row_splits), 30) + 0.5
    fused, kernel = both(layer, converters, precision=precision)
    fused.install(tiles)
    kernel.install(tiles)
    expected = fused(x)
    torch.testing.assert_close(kernel(x), expected, rtol=0.0, atol=1e-5 * float(expected.abs().max()))


NOISY = {
    "output": ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.05, output_bound=1e6),
    "constant": replace(ANALOG, read_noise=0.05, read_noise_law="constant", output_noise=0.02),
    "pcm": replace(ANALOG, read_noise=0.05, output_noise=0.02),
    "pcm, fixed": replace(ANALOG, dac_bits=8, read_noise=0.05, output_noise=0.02),
    "constant, fixed": replace(ANALOG, dac_bits=8, read_noise=0.05, read_noise_law="constant", output_noise=0.02),
    "pcm, float16x2": replace(ANALOG, dac_bits=8, read_noise=0.05, output_noise=0.02),
}


@pytest.mark.parametrize("name", NOISY)
def test_noise_has_the_mean_and_deviation_of_its_formula(name: str) -> None:
    converters = NOISY[name]
    torch.manual_seed(4)
    layer, x, n = nn.Linear(60, 6, bias=False), torch.rand(1, 60), 2048
    precision: Precision = "float16x2" if "float16x2" in name else "fixed"
    _, kernel = both(layer, converters, (30, 6), precision=precision, blocks=(2048, 16))
    tiles = on_tiles(layer, converters, (30, 6))
    inputs = (x * 127).round() / 127 if converters.dac_bits else x
    expected, variance = torch.zeros(6), torch.zeros(6)
    for part, own in zip(tiles.slices(), inputs.split(30, dim=1), strict=True):
        cells = part.weight.abs() if converters.read_noise_law == "pcm" else torch.ones_like(part.weight)
        noise = converters.output_noise**2 + converters.read_noise**2 * (own.square() @ cells.T)[0]
        expected += (own @ part.weight.T)[0] * part.scale
        variance += noise * part.scale.square()
    standardised = (kernel(x.expand(n, 60)) - expected) / variance.sqrt()
    assert bool((standardised.mean(0).abs() < 4.5 / n**0.5).all())
    assert bool(((standardised.std(0) - 1.0).abs() < 4.5 / (2 * n) ** 0.5 + 5e-3).all())
    together = torch.corrcoef(standardised.T) - torch.eye(6)
    assert float(together.abs().max()) < 4.5 / n**0.5  # columns that share a counter are independent, too
    shares = torch.tensor([float((standardised > level).float().mean()) for level in (-1.0, 0.0, 2.0)])
    normal = torch.special.ndtr(torch.tensor([1.0, 0.0, -2.0]))
    assert bool(((shares - normal).abs() < 4.5 * (normal * (1 - normal) / (6 * n)).sqrt()).all())


def test_results_depend_on_neither_block_sizes_nor_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    layer, x = nn.Conv2d(16, 19, 3, padding=1), torch.randn(2, 16, 3, 4)
    converters = ConverterModel(read_noise=0.05, ir_drop=5.0)
    _, small = both(layer, converters, (80, 20), blocks=(16, 16))
    _, large = both(layer, converters, (80, 20), blocks=(32, 32))
    first = small(x)
    assert torch.equal(first, large(x))
    second = small(x)
    assert not torch.equal(first, second)
    last = large(x.contiguous(memory_format=torch.channels_last))
    assert torch.equal(second, last)
    assert last.is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(launch, "_MOST", 0)  # as if places needed 64 bits
    large.restart_noise(0)
    assert torch.equal(large(x), first)
    large.restart_noise(1)
    assert not torch.equal(large(x), first)


def test_the_first_slice_of_a_layer_and_the_second_have_noise_of_their_own() -> None:
    _, kernel = both(nn.Linear(80, 8), ConverterModel(adc_bits=0, output_noise=0.05, output_bound=10.0))
    first, second = kernel.output_codes(torch.zeros(64, 80))
    pair = torch.stack([first.flatten(), second.flatten()])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 4.5 / 512**0.5
    assert not torch.equal(first[:32], first[32:])


def test_random_bits_are_the_published_ones_of_philox() -> None:
    from nestevo_hw.crossbar.gpu import kernel

    # Known answers of Random123, philox4x32 with 10 rounds.
    known = (
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    )
    words = torch.tensor([[*counter, *key] for counter, key, _ in known], dtype=torch.int64)
    got = torch.zeros(3, 4, dtype=torch.int64)
    for row in range(3):
        kernel.store_bits[(1,)](words[row], got[row])
    assert np.array_equal(got.numpy(), np.array([answer for _, _, answer in known], dtype=np.int64))


def test_zeros_saturation_and_no_number() -> None:
    torch.manual_seed(6)
    layer = nn.Linear(40, 5)
    with torch.no_grad():
        layer.weight[0].zero_()
        layer.weight[1].fill_(0.3)
    fused, kernel = both(layer, replace(QUIET, output_bound=0.5))
    x = torch.cat([torch.zeros(1, 40), torch.full((1, 40), 1e9), torch.randn(2, 40)])
    x[3, 7] = float("nan")
    (codes,) = kernel.output_codes(x)
    assert torch.equal(codes[0], torch.zeros(5))
    assert codes[1, 1] == 127
    got = kernel(x)
    assert torch.equal(got[0], layer.bias)
    assert torch.equal(got[:3, 0], layer.bias[0].expand(3))
    assert torch.equal(got.isnan().any(1), torch.tensor([False, False, False, True]))
    torch.testing.assert_close(got[:3], fused(x[:3]), rtol=0.0, atol=1e-6)
    empty = both(nn.Conv2d(3, 5, 3, stride=2, padding=1), QUIET)[1]
    assert empty(torch.rand(0, 3, 8, 8)).shape == (0, 5, 4, 4)


def test_where_sums_would_not_be_exact_float32_computes() -> None:
    assert usable("fixed", 8, 256) == "fixed"
    assert usable("fixed", 9, 256) == "float32"
    assert usable("fixed", 8, 1 << 17) == "float32"
    assert usable("float16x2", 12, 256) == "float16x2"
    assert usable("tf32", 0, 256) == "float32"
    with pytest.raises(ConfigError, match="unknown precision 'int4'; choose from fixed, float16x2, tf32, float32"):
        usable("int4", 8, 256)  # type: ignore[arg-type]
    layer, x = nn.Linear(30, 5), torch.randn(8, 30)
    fused, kernel = both(layer, replace(QUIET, dac_bits=0, adc_bits=0))
    assert kernel.precision == "float32"
    torch.testing.assert_close(kernel(x), fused(x), rtol=0.0, atol=1e-5)


def test_without_a_gpu_a_layer_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _, kernel = both(nn.Linear(8, 3), QUIET)
    monkeypatch.setattr(launch, "interpreted", lambda: False)
    with pytest.raises(MappingError, match="layer is computed by a kernel for GPUs but got an input on the CPU"):
        kernel(torch.rand(2, 8))


def test_a_teacher_on_the_kernel_computes_what_one_on_native_operations_does(tmp_path: Path) -> None:
    torch.manual_seed(8)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * 16, 4),
    )  # fmt: skip
    quiet = replace(find_preset("pcm"), converters=replace(QUIET, adc_range="calibrated", column_calibration=True))
    x = torch.rand(2, 3, 6, 6)
    outputs = {}
    for backend in ("fused", "triton"):
        teacher = AnalogTeacher(model, device=quiet, tile=(16, 16), grouped=True, backend=backend)  # type: ignore[arg-type]
        teacher.calibrate([x])
        teacher.program()
        teacher.age(60.0)
        outputs[backend] = teacher.module(x)
    assert (teacher.report.backend, teacher.report.backend_reason) == ("triton", "as asked")
    assert [type(teacher.module[i]).__name__ for i in (0, 2, 5)] == ["KernelLayer", "FusedLayer", "KernelLayer"]
    torch.testing.assert_close(outputs["triton"], outputs["fused"], rtol=0.0, atol=1e-5)
    # Where there is no GPU, what was made on one is read and computed by native operations.
    teacher.save(tmp_path / "teacher.safetensors")
    loaded = AnalogTeacher.load(tmp_path / "teacher.safetensors", model)
    metadata, tensors = read_tensors(tmp_path / "teacher.safetensors")
    edited = re.sub(r'"precision": ?"fixed"', '"precision": "int4"', metadata["header"])
    write_tensors(tmp_path / "other.safetensors", tensors, {**metadata, "header": edited})
    with pytest.raises(InputError, match="header: precision: need one of fixed, float16x2, tf32, float32"):
        AnalogTeacher.load(tmp_path / "other.safetensors", model)
    assert loaded.backend == "fused"
    torch.testing.assert_close(loaded.module(x), outputs["triton"], rtol=0.0, atol=1e-5)


def test_the_kernel_is_used_where_asked_for_and_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = find_preset("pcm")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert choose_backend(pcm, "triton") == ("triton", "as asked")
    assert choose_backend(pcm, "auto")[0] == "fused"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(ConfigError, match=r"cannot run here: the GPU has a compute capability below 8\.0"):
        choose_backend(pcm, "triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"backend triton cannot run here: torch finds no GPU; use fused"):
        choose_backend(pcm, "triton")
    monkeypatch.setattr(backend_module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="cannot run here: triton is not installed"):
        choose_backend(pcm, "triton")
    with pytest.raises(ConfigError, match="triton needs converters, but device ideal has none"):
        choose_backend(find_preset("ideal"), "triton")
    with pytest.raises(ConfigError, match="triton has no input noise"):
        choose_backend(replace(pcm, converters=ConverterModel(input_noise=0.1)), "triton")
