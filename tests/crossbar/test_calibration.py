"""Ranges of the converters and corrections of the columns against hand-made sums."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError, MappingError
from nestevo_hw.crossbar.backend import Backend
from nestevo_hw.crossbar.calibration import MOST_SAMPLES, _Sample
from nestevo_hw.crossbar.devices import ConverterModel, DevicePreset, find_preset
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.studies.noise.sweeps import SWEEPS, Hardware

IDEAL = find_preset("ideal")
PCM = find_preset("pcm")
QUIET = ConverterModel(output_noise=0.0, adc_range="calibrated", adc_quantile=1.0)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _teacher(
    model: nn.Module, converters: ConverterModel, device: DevicePreset = IDEAL, **options: object
) -> AnalogTeacher:
    return AnalogTeacher(model, device=replace(device, converters=converters), **options)  # type: ignore[arg-type]


def _sums(weight: Tensor, x: Tensor, full_scale: float, rows: list[int]) -> Tensor:
    """(slices, values, outputs) sums in units of full-scale input x largest weight of each column."""
    parts = []
    for w, v in zip(weight.split(rows, 1), x.split(rows, -1), strict=True):
        parts.append(v.clamp(-full_scale, full_scale) @ w.T / full_scale / w.abs().amax(1))
    return torch.stack(parts)


@pytest.mark.parametrize("quantile", [1.0, 0.9])
def test_the_range_of_an_adc_is_what_its_columns_put_out(quantile: float) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(30, 8), torch.randn(400, 30)
    teacher = _teacher(layer, replace(QUIET, adc_quantile=quantile), tile=(15, 8))
    teacher.calibrate(x.split(100))
    own = teacher.module
    sums = _sums(layer.weight, x, own.input_range, [15, 15]).abs().flatten()
    expected = float(sums.sort().values[round(len(sums) * quantile) - 1])
    assert own.output_bound == pytest.approx(expected, rel=1e-5)


def test_a_convolution_is_calibrated_on_its_patches() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 6, 3, stride=2, padding=1), torch.rand(3, 4, 9, 8)
    teacher = _teacher(conv, QUIET, tile=(20, 6))
    teacher.calibrate([x])
    patches = F.unfold(x, 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
    sums = _sums(conv.weight.flatten(1), patches, teacher.module.input_range, [18, 18])
    assert teacher.module.output_bound == pytest.approx(float(sums.abs().max()), rel=1e-5)


@pytest.mark.parametrize("bits", [4, 6])
def test_codes_are_as_fine_as_the_calibrated_range_allows(bits: int) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(30, 8), torch.randn(400, 30)
    errors = {}
    for kind in ("fixed", "calibrated"):
        teacher = _teacher(layer, replace(QUIET, adc_bits=bits, dac_bits=0, adc_range=kind))
        teacher.calibrate([x])
        teacher.program()
        scale = teacher.module.input_range * layer.weight.abs().amax(1)
        inside = x.abs().amax(1) <= teacher.module.input_range
        error = ((teacher.module(x) - layer(x)) / scale)[inside]
        step = 2.0 * teacher.module.output_bound / (2**bits - 2)
        assert error.abs().max() <= step / 2 + 1e-4
        errors[kind] = float(error.square().mean().sqrt())
        assert errors[kind] == pytest.approx(step / math.sqrt(12), rel=0.15)
    assert errors["calibrated"] < errors["fixed"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_calibrating_before_or_after_programming_is_the_same_and_is_stored(order: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)), torch.rand(9, 3, 6, 6)
    device = PCM.with_adc_range("calibrated")
    teacher = AnalogTeacher(model, device=device, tile=40)
    if order == "before":
        teacher.calibrate([x])
    teacher.program()
    if order == "after":
        teacher.calibrate([x])
    teacher.age(3600.0)
    expected = AnalogTeacher(model, device=device, tile=40)
    expected.calibrate([x])
    expected.program()
    expected.age(3600.0)
    assert torch.equal(teacher.module(x), expected.module(x))
    expected.age(3600.0)
    expected.save(tmp_path / "teacher")
    loaded = AnalogTeacher.load(tmp_path / "teacher", model)
    loaded.age(3600.0)
    teacher.age(3600.0)
    assert torch.equal(loaded.module(x), teacher.module(x))
    assert loaded.module[0].output_bound == teacher.module[0].output_bound != 10.0


def test_both_backends_take_the_calibrated_range() -> None:
    torch.manual_seed(0)
    layer, x, codes = nn.Linear(30, 8), torch.randn(200, 30), []
    backends: tuple[Backend, ...] = ("fused", "reference")
    for backend in backends:
        teacher = _teacher(layer, replace(QUIET, adc_bits=5), PCM, backend=backend)
        teacher.calibrate([x])
        teacher.program()
        codes.append(teacher.module(x))
    assert int(((codes[0] - codes[1]).abs() > 1e-4).sum()) <= 2


def test_sparse_inputs_keep_their_range_and_dense_ones_the_quantile_of_all() -> None:
    x = torch.zeros(20, 100_000)
    x[:, 7] = torch.linspace(1.0, 2.0, 20)  # one input in 100 000: a quantile of all inputs is zero
    teacher = AnalogTeacher(nn.Linear(100_000, 2), device="pcm", tile=65_536)
    teacher.calibrate(x.split(5))
    assert teacher.module.input_range == 2.0
    dense = torch.zeros(1, 20_000)
    dense[0, :10_000] = torch.arange(1.0, 10_001.0)
    teacher = AnalogTeacher(nn.Linear(20_000, 2), device="pcm", tile=20_000)
    teacher.calibrate([dense])
    assert teacher.module.input_range == 9_998.0  # two of 20 000 lie above


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_a_layer_that_saw_only_zeros_is_exact_for_zeros_and_says_so_for_others(backend: Backend) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1)
    teacher = AnalogTeacher(conv, device="pcm", backend=backend)
    teacher.calibrate([torch.zeros(2, 3, 8, 8)])
    teacher.program()
    assert torch.equal(teacher.module(torch.zeros(1, 3, 8, 8)), conv.bias.view(1, 5, 1, 1).expand(1, 5, 8, 8))
    with pytest.raises(MappingError, match=r"nothing but zeros when it was calibrated.*on more varied ones"):
        teacher.module(torch.rand(1, 3, 8, 8))


def test_the_transfer_curve_of_a_bent_adc() -> None:
    # One weight of 1, so the sum is the input itself: codes are its steps, bent by the stated cubic.
    io = ConverterModel(dac_bits=0, adc_bits=8, output_noise=0.0, output_bound=1.0, adc_inl=3.0)
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    teacher = _teacher(layer, io)
    teacher.module.input_range = 1.0
    teacher.program()
    u = torch.linspace(-1.2, 1.2, 2001)[:, None]
    codes = teacher.module(u) * 127
    ideal = u.clamp(-1, 1) * 127
    bent = codes - ideal
    expected = 3.0 * 1.5 * math.sqrt(3) * (u.clamp(-1, 1) - u.clamp(-1, 1) ** 3)
    assert (bent - expected).abs().max() <= 0.5 + 1e-4
    assert float(bent.abs().max()) == pytest.approx(3.0, abs=0.5)
    for reached in (0.0, 1.0, -1.0):
        assert float(teacher.module(torch.tensor([[reached]]))) == pytest.approx(reached)


def test_fitted_columns_undo_a_gain_an_offset_and_most_of_a_drift() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(60, 12), torch.rand(500, 60) + 0.5  # a mean input turns weight errors into an offset
    errors = {}
    for fitted in (False, True):
        io = ConverterModel(output_noise=0.0, dac_bits=0, adc_bits=0, output_bound=1e6, column_calibration=fitted)
        teacher = _teacher(layer, io, PCM, tile=(30, 12))
        teacher.calibrate(x.split(100))
        teacher.program()
        other = torch.rand(500, 60) + 0.5
        errors[fitted] = float((teacher.module(other) - layer(other)).square().mean().sqrt())
        if fitted:
            own = teacher.module
            (tiles,) = teacher._tiles.values()
            assert tiles.correction is not None
            # The same lines by least squares of numpy's kind, column by column.
            read = x[:, :30] @ tiles.weight[:, :30].T / own.input_range
            wanted = x[:, :30] @ (tiles.target[:, :30] / tiles.scale[0][:, None]).T / own.input_range
            for o in range(12):
                design = torch.stack([read[:, o], torch.ones(500)], 1).double()
                line = torch.linalg.lstsq(design, wanted[:, o : o + 1].double()).solution
                assert float(tiles.correction[0, 0, o]) == pytest.approx(float(line[0]), rel=1e-3)
                assert float(tiles.correction[1, 0, o]) == pytest.approx(float(line[1]), abs=1e-3)
    assert errors[True] < 0.6 * errors[False]


def test_fitted_columns_are_stored_and_go_with_the_programming(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)), torch.rand(9, 3, 6, 6)
    io = replace(ConverterModel(), column_calibration=True)
    teacher = _teacher(model, io, PCM, tile=40)
    with pytest.raises(MappingError, match=r"call calibrate\(\) before program\(\)"):
        teacher.program()
    teacher.calibrate([x])
    teacher.program()
    teacher.age(60.0)
    teacher.save(tmp_path / "teacher")
    first = teacher.module(x)
    teacher.program(generation=1)
    teacher.program(generation=0)
    teacher.age(60.0)
    assert torch.equal(teacher.module(x), first)
    loaded = AnalogTeacher.load(tmp_path / "teacher", model)
    assert torch.equal(loaded.module(x), first)


@pytest.mark.parametrize("changes", [{"adc_inl": 1.0}, {"column_calibration": True}])
def test_what_aihwkits_tile_does_not_have_is_refused_there(changes: dict[str, float]) -> None:
    device = replace(PCM, converters=replace(ConverterModel(), **changes))
    with pytest.raises(ConfigError, match="backend reference has no read noise, IR drop, ADC non-linearity"):
        AnalogTeacher(nn.Linear(3, 3), device=device, backend="reference")
    with pytest.raises(ConfigError, match="no backend simulates input noise together"):
        AnalogTeacher(nn.Linear(3, 3), device=replace(device, converters=replace(device.converters, input_noise=0.1)))


def test_the_range_is_an_option_of_every_device_with_converters() -> None:
    with pytest.raises(ConfigError, match="device ideal has no converters, so no ADC has a range to calibrate"):
        IDEAL.with_adc_range("calibrated")
    assert IDEAL.with_adc_range("fixed") == IDEAL
    assert PCM.with_adc_range(None) is PCM
    hardware = Hardware(preset=PCM.with_adc_range("calibrated"))
    for sweep, value in (("analog", "hermes"), ("adc_bits", 4.0), ("ir_ladder", 2.0)):
        setting = SWEEPS[sweep].setting(hardware, value)
        assert setting.hardware is not None
        io = setting.hardware.preset.converters
        assert io is not None
        assert io.adc_range == "calibrated"
    assert (io.ir_drop, io.ir_drop_model) == (2.0, "ladder")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adc_quantile": 1.5}, "adc_quantile of 0.5 to 1, got 1.5"),
        ({"adc_inl": -1.0}, "adc_inl of 0 or more"),
        ({"adc_inl": 1.0, "adc_bits": 0}, "adc_inl .* at 0 bits"),
    ],
)
def test_impossible_converters_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(ConverterModel(), **changes)


def test_what_is_kept_of_the_frames_is_bounded_and_still_gives_their_quantile() -> None:
    sample, generator = _Sample(), torch.Generator().manual_seed(0)
    for _ in range(120):
        sample.add(torch.rand(100_000, generator=generator).square(), 64, 1)
    kept = [values for values, _ in sample._parts]
    assert sum(part.numel() for part in kept) <= MOST_SAMPLES
    held = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in kept}
    assert sum(held.values()) <= 4 * MOST_SAMPLES  # copies: none keeps a whole feature map
    assert sample.quantile(0.01) == pytest.approx(0.99**2, abs=0.002)  # of squares of uniform values
    assert sample.quantile(0.5) == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize(
    "sizes",
    [
        [1_600_000, 1_600_000, 10_000],  # whole batches and the rest of the frames
        [1_000_000, 60_000, 10_000, 300],  # a head that the levels of a pyramid share
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.01, 1e-3])
def test_values_weigh_alike_whatever_the_size_of_the_map_that_they_came_in(sizes: list[int], share: float) -> None:
    """A map of 10 000 values is kept whole, one of 1 600 000 in part."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(size, generator=generator) for size in sizes]
    maps[-1] *= 4.0
    sample = _Sample()
    for values in maps:
        sample.add(values, 1, 1)
    everything = torch.cat(maps)
    assert float((everything > sample.quantile(share)).float().mean()) == pytest.approx(share, rel=0.25)


@pytest.mark.parametrize("feature", [1, 5, 6])
@pytest.mark.parametrize(
    ("batches", "shape"),
    [
        (1, (8, 50, 768)),  # tokens: a step of 9 in rows of 768 would see every third feature
        (1, (40, 3072)),
        (48, (512, 64)),  # so many values that they are thinned
        (300, (16, 256)),  # the hidden state of a recurrent layer, time by time
    ],
)
def test_an_input_range_heeds_every_feature(batches: int, shape: tuple[int, ...], feature: int) -> None:
    torch.manual_seed(0)
    layer, frames = nn.Linear(shape[-1], 2), [torch.randn(shape) for _ in range(batches)]
    for x in frames:
        x[..., feature] = 40.0 * (1.0 + 0.01 * torch.rand(shape[:-1]))
    teacher = _teacher(layer, ConverterModel())
    teacher.calibrate(frames)
    assert 40.0 <= teacher.module.input_range <= 40.4


def test_an_input_range_heeds_every_channel_of_single_places() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(768, 2, 1), torch.randn(400, 768, 1, 1)
    x[:, 1] = 40.0
    teacher = _teacher(conv, ConverterModel())
    teacher.calibrate([x])
    assert teacher.module.input_range == 40.0


def test_the_range_of_an_adc_heeds_every_column_of_a_linear_layer() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 768, bias=False), torch.rand(8, 50, 64)
    layer.weight.normal_()
    layer.weight[1] = 1.0  # its sums are by far the largest
    teacher = _teacher(layer, replace(QUIET, adc_quantile=0.9999))
    teacher.calibrate([x])
    expected = float(
        _sums(layer.weight, x.flatten(0, 1), teacher.module.input_range, [64]).flatten().abs().quantile(0.9999)
    )
    assert teacher.module.output_bound == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("columns", "pixels", "batches"),
    [
        (12, 24, 1),  # a step of 3 would see four of the columns
        (8, 24, 60),  # so many sums that they are thinned: every other one would be of even columns alone
    ],
)
def test_the_range_of_an_adc_heeds_every_column_of_a_convolution(columns: int, pixels: int, batches: int) -> None:
    torch.manual_seed(0)
    layer, frames = nn.Conv2d(4, columns, 1, bias=False), [torch.rand(16, 4, pixels, pixels) for _ in range(batches)]
    layer.weight.data.normal_()
    layer.weight.data[5] = 1.0
    teacher = _teacher(layer, replace(QUIET, adc_quantile=0.99))
    teacher.calibrate(frames)
    rows = torch.cat([x.movedim(1, -1).flatten(0, 2)[::7] for x in frames])
    expected = _sums(layer.weight.flatten(1), rows, teacher.module.input_range, [4]).flatten().abs()
    wanted = float(expected.kthvalue(round(0.99 * len(expected))).values)
    assert teacher.module.output_bound == pytest.approx(wanted, rel=0.02)
