"""Every kind of layer on tiles: exact without noise, and with converters what the products of its tiles add up to."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from aihwkit.nn import AnalogConv1d, AnalogConv3d
from aihwkit.simulator.configs import InferenceRPUConfig
from aihwkit.simulator.parameters.io import IOParameters
from torch import Tensor, nn

from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.chips.cost import chip_cost
from nestevo_hw.crossbar.chips.energy import Activity
from nestevo_hw.crossbar.chips.workload import LayerWork, count_workload
from nestevo_hw.crossbar.devices import ConverterModel, find_preset
from nestevo_hw.crossbar.geometry import Geometry
from nestevo_hw.crossbar.layers import FusedLayer, folded_layer
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.reference import ReferenceLayer
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.crossbar.tiles import LayerTiles

QUIET = ConverterModel(output_noise=0.0)
PCM = replace(find_preset("pcm"), converters=QUIET)


class Own(nn.Conv2d):
    """A subclass that changes nothing, as many libraries have."""


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(6, 10, 5, stride=2, padding=3, dilation=2), (2, 6, 31)),
    "conv2d, unbatched": (lambda: nn.Conv2d(3, 4, 3), (3, 8, 8)),
    "conv3d": (lambda: nn.Conv3d(4, 7, (3, 2, 3), stride=(1, 2, 1), padding=(1, 0, 2)), (2, 4, 5, 8, 6)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(6, 5, 4, stride=2, padding=1), (2, 6, 9)),
    "transposed 2d": (
        lambda: nn.ConvTranspose2d(6, 5, (3, 4), stride=(2, 3), padding=1, output_padding=(1, 0), dilation=(1, 2)),
        (2, 6, 7, 5),
    ),
    "transposed 3d": (lambda: nn.ConvTranspose3d(3, 4, 2, stride=2, bias=False), (1, 3, 3, 4, 2)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(6, 9, 3, stride=2, groups=3), (2, 6, 5, 4)),
    "transposed, unbatched": (lambda: nn.ConvTranspose2d(6, 4, 2, stride=2), (6, 5, 4)),
    "grouped": (lambda: nn.Conv2d(12, 18, 3, padding=1, groups=3), (2, 12, 7, 6)),
    "depthwise": (lambda: nn.Conv2d(20, 20, 3, stride=2, padding=1, groups=20, bias=False), (2, 20, 9, 8)),
    "depthwise, multiplied": (lambda: nn.Conv1d(10, 30, 3, groups=10), (2, 10, 12)),
    "large groups": (lambda: nn.Conv2d(16, 24, 3, groups=2), (2, 16, 6, 6)),
    "groups in one band": (lambda: nn.Conv2d(4, 4, 1, groups=2), (2, 4, 6, 6)),
    "reflect": (lambda: nn.Conv2d(4, 5, 3, padding=(2, 1), padding_mode="reflect"), (2, 4, 7, 6)),
    "replicate": (lambda: nn.Conv1d(4, 5, 3, padding=2, padding_mode="replicate"), (2, 4, 7)),
    "circular": (lambda: nn.Conv3d(2, 3, 3, padding=1, padding_mode="circular"), (1, 2, 4, 5, 4)),
    "uneven same": (lambda: nn.Conv2d(4, 5, (2, 4), padding="same", dilation=(1, 3)), (2, 4, 9, 12)),
    "valid": (lambda: nn.Conv2d(4, 5, 3, padding="valid"), (2, 4, 6, 6)),
    "same, reflected": (lambda: nn.Conv2d(4, 5, 2, padding="same", padding_mode="reflect"), (2, 4, 6, 6)),
    "subclass": (lambda: Own(4, 5, 3, padding=1), (2, 4, 6, 6)),
    "linear": (lambda: nn.Linear(50, 9), (2, 3, 50)),
}  # fmt: skip
TILE = (36, 20)
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # torch's own copy


def _case(kind: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, shape = KINDS[kind]
    return build().eval(), torch.rand(shape) - 0.3


@pytest.mark.parametrize("backend", ["fold", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_ideal_device_computes_the_digital_layer(kind: str, backend: str) -> None:
    layer, x = _case(kind)
    teacher = AnalogTeacher(layer, device="ideal", tile=TILE, grouped=True, backend=backend)
    teacher.program()
    torch.testing.assert_close(teacher.module(x), layer(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(teacher.digital_twin()(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_converters_compute_the_digital_layer(kind: str) -> None:
    layer, x = _case(kind)
    exact = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6)
    preset = replace(find_preset("ideal"), converters=exact)
    teacher = AnalogTeacher(layer, device=preset, tile=TILE, grouped=True)
    teacher.calibrate([x])
    teacher.program()
    teacher.module.input_range = float(x.abs().max())  # calibration leaves the largest inputs out
    torch.testing.assert_close(teacher.module(x), layer(x), rtol=1e-5, atol=1e-5)


def _explicit(tiles: LayerTiles, layer: nn.Module, x: Tensor, full_scale: float, digits: int) -> Tensor:
    """The layer tile by tile: every tile sees its rows of every patch, and its ADC rounds its own columns."""
    geometry, step = tiles.geometry, 2.0 * QUIET.output_bound * QUIET.step(QUIET.adc_bits)
    codes = (x.clamp(-full_scale, full_scale) / full_scale / (2 * QUIET.step(QUIET.dac_bits))).round()
    vectors = geometry.patches(codes * 2 * QUIET.step(QUIET.dac_bits))  # (N, bands * rows, ...)
    bands = vectors.chunk(geometry.bands, dim=1)
    pieces = len(tiles.column_splits) // geometry.bands // digits
    total = []
    start = 0
    for j, width in enumerate(tiles.column_splits):
        band = bands[j // pieces % geometry.bands] if geometry.bands > 1 else bands[0]
        column = torch.zeros(())
        for part, rows in zip(tiles.slices(), band.split(tiles.row_splits, dim=1), strict=True):
            y = torch.einsum("cr,nr...->nc...", part.weight[start : start + width], rows)
            y = (y / step).round().clamp(-127, 127) * step * full_scale
            column = column + geometry.column(part.scale[start : start + width]) * y
        total.append(column)
        start += width
    y = torch.cat(total, dim=1)
    y = y.unflatten(1, (digits, -1)).sum(1)
    bias = 0.0 if layer.bias is None else geometry.column(layer.bias.detach())
    if not geometry.transposed:
        return y + bias
    # Overlapping kernels, place by place: the transposed product with ones at one place of the kernel
    places = y.unflatten(1, (-1, *geometry.kernel))
    transposed = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[geometry.dims]
    out: Tensor = torch.zeros(())
    for place in torch.cartesian_prod(*(torch.arange(k) for k in geometry.kernel)).reshape(-1, geometry.dims).tolist():
        one = torch.zeros(1, 1, *geometry.kernel)
        one[(0, 0, *place)] = 1.0
        image = places[(slice(None), slice(None), *place)]
        spread = transposed(image.flatten(0, 1).unsqueeze(1), one, None, geometry.stride, geometry.padding,
                            geometry.output_padding, 1, geometry.dilation)  # fmt: skip
        out = out + spread.squeeze(1).unflatten(0, image.shape[:2])
    return out + bias


CONVERTED = [kind for kind in KINDS if "unbatched" not in kind and kind != "linear"]


@pytest.mark.parametrize("digits", [1, 3])
@pytest.mark.parametrize("kind", CONVERTED)
def test_converters_round_what_each_tile_puts_out(kind: str, digits: int) -> None:
    layer, x = _case(kind)
    preset = replace(PCM, weight_bits=6, cell_bits=2) if digits == 3 else PCM
    tiles = LayerTiles("layer", layer, preset, TILE, seed=3)
    tiles.program(0)
    tiles.age(3600.0)
    fused, reference = FusedLayer(tiles, layer, QUIET), ReferenceLayer(tiles, layer)
    fused.input_range = reference.input_range = full_scale = float(x.abs().quantile(0.98))
    expected = _explicit(tiles, layer, x, full_scale, digits)
    # A sum at the border of two codes may fall to either side; such an output is one step off.
    step = 2.0 * QUIET.output_bound * QUIET.step(8) * full_scale * float(tiles.scale.max())
    for got in (fused(x), reference(x)):
        difference = (got - expected).abs()
        assert got.shape == layer(x).shape
        assert difference.max() <= 1.01 * step
        assert int((difference > 1e-4).sum()) <= max(2, 2e-3 * difference.numel())


@pytest.mark.parametrize("kind", ["grouped", "depthwise", "transposed, groups", "large groups", "conv3d"])
def test_folded_cells_are_those_of_the_reference(kind: str) -> None:
    layer, x = _case(kind)
    preset = find_preset("pcm", perfect_io=True)
    tiles = LayerTiles("layer", layer, preset, TILE, seed=3)
    tiles.program(0)
    tiles.age(86_400.0)
    torch.testing.assert_close(folded_layer(layer, tiles)(x), ReferenceLayer(tiles, layer)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("theirs", [AnalogConv1d, AnalogConv3d])
def test_convolutions_with_other_dimensions_are_those_of_aihwkit(theirs: type) -> None:
    torch.manual_seed(0)
    if theirs is AnalogConv1d:
        layer, x = nn.Conv1d(6, 10, 5, stride=2, padding=3), torch.rand(2, 6, 31)
    else:
        layer, x = nn.Conv3d(4, 7, (3, 2, 3), stride=(1, 2, 1), padding=(1, 0, 2)), torch.rand(2, 4, 5, 8, 6)
    analog = theirs.from_digital(layer, InferenceRPUConfig(forward=IOParameters(is_perfect=True)))
    tiles = LayerTiles("layer", layer, find_preset("ideal"), TILE, seed=0)
    torch.testing.assert_close(analog.get_weights()[0].flatten(1), tiles.target)
    torch.testing.assert_close(ReferenceLayer(tiles, layer)(x), analog(x).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_and_weight_are_inverse(kind: str) -> None:
    layer, _ = _case(kind)
    weight = layer.weight.detach()
    geometry = Geometry.of(layer).on_tiles(*TILE)
    matrix = geometry.matrix(weight)
    assert torch.equal(geometry.weight(matrix), weight)
    assert int(matrix.count_nonzero()) == weight.numel()
    assert matrix.shape[1] == geometry.banded * geometry.group[0]


def test_read_noise_of_a_grouped_convolution_is_that_of_all_cells_in_its_rows() -> None:
    # 3 bands of 4 channels; every cell of a band's rows, 36 of them, adds sigma^2 x^2 to a column.
    noisy = ConverterModel(dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6, read_noise=0.05,
                           read_noise_law="constant")  # fmt: skip
    layer, x = nn.Conv2d(12, 12, 3, groups=12, bias=False), torch.ones(1, 12, 60, 60)
    preset = replace(find_preset("ideal"), converters=noisy)
    tiles = LayerTiles("layer", layer, preset, TILE, seed=0)
    assert (tiles.geometry.bands, tiles.row_splits) == (3, (36,))
    fused = FusedLayer(tiles, layer, noisy)
    fused.input_range = 1.0
    (part,) = tiles.slices()
    error = ((fused(x) - layer(x)) / part.scale.view(-1, 1, 1)).flatten(2).std(-1)
    assert torch.allclose(error, torch.tensor(0.05 * 36**0.5), rtol=5 / (2 * 58 * 58) ** 0.5)


def test_a_transposed_convolution_takes_the_size_it_is_asked_for() -> None:
    torch.manual_seed(0)
    layer, x = nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1), torch.rand(1, 3, 5, 6)
    teacher = AnalogTeacher(layer, device="pcm")
    teacher.calibrate([x])
    teacher.program()
    assert teacher.module(x).shape == (1, 4, 9, 11)
    assert teacher.module(x, output_size=[10, 11]).shape == (1, 4, 10, 11)
    assert teacher.module(x, output_size=(1, 4, 9, 12)).shape == (1, 4, 9, 12)


def test_tiles_and_utilisation_of_a_depthwise_convolution() -> None:
    # 9 rows a group: 28 fit into 256, of which 24 divide 96: four bands of 216 x 24 cells.
    layer = nn.Conv2d(96, 96, 3, groups=96)
    model = nn.Sequential(layer, nn.Conv2d(96, 4, 1))
    assert map_model(model).layers[0].placement == "digital"
    entry = map_model(model, grouped=True).layers[0]
    assert (entry.tiles, entry.row_splits, entry.column_splits) == (4, (216,), (24,) * 4)
    assert entry.utilisation == pytest.approx(96 * 9 / (4 * 256 * 256))
    assert (entry.groups, entry.matrix) == (96, (9, 1))
    assert entry.reason == "block-diagonal matrix of 96 groups"


def test_a_grouped_and_a_transposed_convolution_cost_what_their_matrices_do() -> None:
    model = nn.Sequential(nn.Conv2d(3, 96, 1), nn.Conv2d(96, 96, 3, groups=96), nn.ConvTranspose2d(96, 40, 2, stride=2))
    work, report = count_workload(model, (6, 6)), map_model(model, grouped=True)
    assert work.layers["1"] == LayerWork(rows=9, columns=1, products=16, macs=16 * 96 * 9, groups=96)
    assert work.layers["2"] == LayerWork(rows=96, columns=160, products=16, macs=16 * 96 * 160)
    chip = load_chip("hermes")  # 256 x 256 weights an array
    assert (chip.weight_rows, chip.weight_columns) == (256, 256)
    assert chip.blocks(9, 1, 96) == (4, 1, 1)
    assert chip_cost(report, work, chip).arrays == 1 + 4 + 1
    # 16 positions; each reads the four arrays of its bands, 216 x 24 of 256 x 256 cells used in each
    alone = replace(work, layers={"1": work.layers["1"]})
    cost = chip_cost(report, alone, chip)
    reads = 16 * 4 * chip.input_cycles
    assert cost.activity == Activity(
        reads=reads, reads_used=pytest.approx(reads * 216 * 24 / 256**2), conversions=reads * 256,
        conversions_used=reads * 24, drives=reads * 256, drives_used=reads * 216, bits=16 * (864 + 96) * 8,
    )  # fmt: skip
    assert cost.energy.arrays == pytest.approx(reads * chip.array_energy_pj * 1e-12)
