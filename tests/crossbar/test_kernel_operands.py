"""What the kernel multiplies: codes of inputs and cells in the order of its products; in Triton's interpreter."""

import math

import pytest
import torch
from kernel_cases import QUIET, both
from torch import Tensor, nn

from nestevo_hw.crossbar.geometry import Geometry, Layer
from nestevo_hw.crossbar.gpu import launch
from nestevo_hw.crossbar.gpu.operands import Plan, Precision, encoded

triton = pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(not launch.interpreted(), reason="the kernel is compiled for a GPU in this run")


def test_dac_codes_are_bit_equal() -> None:
    torch.manual_seed(3)
    ties = (torch.arange(-128, 128) + 0.5) * (0.7 / 127)
    odd = torch.tensor([0.0, -0.0, 0.7, -0.7, 9e9, -9e9, 1e-42, float("inf")])
    x = torch.cat([ties, odd, 2 * torch.rand(1000) - 1]).repeat(2)[: 2 * 3 * 200].view(2, 3, 20, 10)
    fused, _ = both(nn.Conv2d(3, 1, 1), QUIET)
    expected = fused._input_codes(x, 0.7)
    for laid in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        (codes,), broken = _codes(nn.Conv2d(3, 1, 1), (3,), laid, fused._dac_step)
        assert torch.equal(codes.movedim(-1, 1), expected)
        assert not bool(broken.any())


def _codes(layer: Layer, splits: tuple[int, ...], x: Tensor, step: float) -> tuple[list[Tensor], Tensor]:
    """(N, height, width, channels) codes of each slice of a full scale of 0.7, without what fills it up with zeros."""
    plan = Plan.of(Geometry.of(layer), splits)
    codes, broken = launch.quantised(plan, x, plan.code_spans(), torch.int8, full_scale=0.7, step=step)
    slices = []
    for first_block, blocks, *_ in plan.table().tolist():
        part = codes[..., first_block * plan.block : (first_block + blocks) * plan.block]
        count = plan.spans[len(slices)][1]
        assert not bool(part[..., count:].any())
        slices.append(part[..., :count].float())
    return slices, broken


def test_slices_that_share_a_channel_have_it_both() -> None:
    torch.manual_seed(3)
    layer, x = nn.Conv2d(40, 1, 3), 2 * torch.rand(2, 40, 5, 6) - 1
    fused, _ = both(layer, QUIET)
    expected = fused._input_codes(x, 0.7).movedim(1, -1)
    (first, second), _ = _codes(layer, (185, 175), x, fused._dac_step)  # row 185 lies in channel 20
    assert torch.equal(first, expected[..., :21])
    assert torch.equal(second, expected[..., 20:])


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 1, (3, 2), (2, 1), (1, 0), (1, 2)), nn.Conv2d(2, 1, 5, padding=2)])
def test_few_channels_are_unrolled_as_they_are_quantised(layer: nn.Conv2d) -> None:
    torch.manual_seed(3)
    x = (2 * torch.rand(2, layer.in_channels, 9, 8) - 1).contiguous(memory_format=torch.channels_last)
    fused, _ = both(layer, QUIET)
    geometry = Geometry.of(layer)
    patches = geometry.patches(fused._input_codes(x, 0.7)).movedim(1, -1)
    rows = patches.shape[-1]
    x[1, 0, 4, 4] = math.nan
    for splits in ((rows,), (rows // 2, rows - rows // 2)):
        slices, broken = _codes(layer, splits, x, fused._dac_step)
        codes = torch.cat(slices, dim=-1)
        assert torch.equal(codes[0], patches[0])
        assert broken.isnan().tolist() == [False, True]


def test_every_vector_has_its_own_mark() -> None:
    x = torch.rand(70, 100, 1, 1)
    x[66, 3] = math.nan
    (codes,), broken = _codes(nn.Linear(100, 1), (100,), x, 1 / 127)
    assert broken.isnan().nonzero().flatten().tolist() == [66]
    whole = (x[:, :, 0, 0].nan_to_num().clamp(max=0.7) / 0.7 * 127).round()
    assert torch.equal(codes[:, 0, 0], whole)


@pytest.mark.parametrize(("precision", "bits"), [("fixed", 21), ("float16x2", 20), ("tf32", 0), ("float32", 24)])
def test_cells_are_held_to_the_bits_that_are_said(precision: Precision, bits: int) -> None:
    torch.manual_seed(7)
    values = torch.randn(40, 50) * 0.01
    terms, unit = encoded(values, precision)
    digits = torch.tensor([128.0**2, 128.0, 1.0]) if precision == "fixed" else torch.ones(len(terms))
    held = (terms.double() * digits.view(-1, 1, 1)).sum(0) * unit
    error = (held - values).abs()
    if precision == "tf32":
        assert bool((error <= 2.0**-11 * values.abs()).all())
        assert not bool((terms.view(torch.int32) & 0x1FFF).any())
    else:
        assert float(error.max()) <= 2.0**-bits * float(values.abs().max())
    nothing, _ = encoded(torch.zeros(2, 3), precision)
    assert not bool(nothing.any())


@pytest.mark.parametrize(
    "layer", [nn.Linear(100, 3), nn.Conv2d(18, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv1d(20, 3, 5)], ids=str
)
def test_the_order_of_the_kernel_holds_every_row_once(layer: Layer) -> None:
    rows = layer.weight[0].numel()
    splits = (rows // 3, rows // 3, rows - 2 * (rows // 3))
    plan = Plan.of(Geometry.of(layer), splits)
    numbers = torch.arange(1.0, rows + 1).expand(3, rows)
    arranged = plan.arranged(list(numbers.split(splits, dim=1)))
    assert arranged.shape == (3, plan.depth)
    assert torch.equal(arranged[1][arranged[1] > 0].sort().values, numbers[0])
    assert plan.width % plan.block == 0
