"""The exact ladder against nodal analysis and closed forms, and how far aihwkit's approximation is from it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import ConverterModel, find_preset
from nestevo_hw.crossbar.layers import FusedLayer
from nestevo_hw.crossbar.tiles import LayerTiles
from nestevo_hw.crossbar.wires import WIRE_TO_CELL_CONDUCTANCE, behind_ladder, loss, seen_from_column_end, transfer


def _by_nodes(cells: NDArray[np.float64], inputs: NDArray[np.float64], resistance: float) -> float:
    """Current into the ADC: one unknown voltage a node of the wire, Kirchhoff's law at each."""
    n = len(cells)
    matrix, current = np.zeros((n, n)), cells * inputs
    for node in range(n):
        matrix[node, node] += cells[node] + 1 / resistance  # the cell, and the wire towards the ADC
        if node > 0:
            matrix[node, node - 1] -= 1 / resistance
            matrix[node - 1, node] -= 1 / resistance
            matrix[node - 1, node - 1] += 1 / resistance
    voltages = np.linalg.solve(matrix, current)
    return float(voltages[0] / resistance)


@pytest.mark.parametrize("resistance", [1e-6, 1e-3, 0.1, 10.0])
def test_the_ladder_is_nodal_analysis(resistance: float) -> None:
    rng = np.random.default_rng(0)
    cells, inputs = rng.random(7), rng.standard_normal(7)
    cells[3] = 0.0
    seen = transfer(torch.from_numpy(cells)[None], resistance)[0].numpy() * cells
    assert float(seen @ inputs) == pytest.approx(_by_nodes(cells, inputs, resistance), rel=1e-9)


def test_two_cells_by_hand() -> None:
    # 1 V on cell 1 (g = 2), behind two resistors of 1/2, loaded by cell 0 (g = 1).
    seen = transfer(torch.tensor([[1.0, 2.0]]), 0.5)[0] * torch.tensor([1.0, 2.0])
    # The source sees 1/2 + 1/2 + (1/2 parallel to 1) = 4/3 Ohm, of whose 3/4 A two thirds reach the ADC.
    assert float(seen[1]) == pytest.approx(0.5)
    # 1 V on cell 0 (g = 1): 1 + (1/2 parallel to 1) = 4/3 Ohm, and again two thirds of 3/4 A.
    assert float(seen[0]) == pytest.approx(0.5)


def test_equal_cells_follow_the_discrete_transmission_line() -> None:
    # h_j of equal cells: cosh((n - j - 1/2) theta) / cosh((n + 1/2) theta), 2 cosh(theta) - 2 = g R.
    n, load = 256, 1e-3
    theta = math.acosh(1 + load / 2)
    rows = torch.arange(n, dtype=torch.float64)
    expected = torch.cosh((n - rows - 0.5) * theta) / math.cosh((n + 0.5) * theta)
    assert torch.allclose(transfer(torch.full((1, n), load), 1.0)[0], expected, rtol=1e-9)


def test_thin_wires_and_single_cells() -> None:
    weights = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert torch.allclose(behind_ladder(weights, 1e-6, pairs=1), weights, atol=1e-6)
    alone = torch.zeros(1, 100)
    alone[0, 49] = -1.0
    resistance = 50 * 16.0 / WIRE_TO_CELL_CONDUCTANCE  # of the wire between cell 49 and the ADC
    assert float(behind_ladder(alone, 16.0, pairs=1)[0, 49]) == pytest.approx(-1 / (1 + resistance), rel=1e-6)


def test_pairs_have_columns_of_their_own() -> None:
    # At 0.5 the first of two pairs carries everything: twice the conductance of a single pair at the same weight.
    half = torch.full((1, 64), 0.5)
    full = behind_ladder(torch.ones(1, 64), 8.0, pairs=1)
    assert torch.allclose(behind_ladder(half, 8.0, pairs=2), full / 2, atol=1e-7)
    both = torch.cat([half, -half], dim=1)
    positive = torch.cat([half, torch.zeros(1, 64)], dim=1)
    negative = torch.cat([torch.zeros(1, 64), half], dim=1)
    expected = behind_ladder(positive, 8.0, pairs=1) - behind_ladder(negative, 8.0, pairs=1)
    assert torch.allclose(behind_ladder(both, 8.0, pairs=1), expected, atol=1e-7)


def _approximate_loss(weights: Tensor, x: Tensor, strength: float) -> Tensor:
    n = weights.shape[1]
    current = n / WIRE_TO_CELL_CONDUCTANCE * (weights.abs() @ x.abs())
    return strength * loss(current) * (weights @ (x * seen_from_column_end(n)))


@pytest.mark.parametrize("level", [1.0, 0.5])
def test_the_approximation_is_the_ladder_for_full_inputs_and_too_small_by_the_input_for_others(level: float) -> None:
    cells, x = torch.full((1, 256), 0.1), torch.full((256,), level)
    exact = (cells.double() - behind_ladder(cells.double(), 1.0, pairs=1)) @ x.double()
    # 1 % for the sum over rows that the approximation takes for an integral, and the next order of the current.
    assert float(exact / _approximate_loss(cells, x, 1.0)) == pytest.approx(1.0 / level, rel=0.02)


def test_a_layer_computes_with_the_weights_behind_the_ladder() -> None:
    torch.manual_seed(0)
    io = ConverterModel(
        dac_bits=0, adc_bits=0, output_noise=0.0, output_bound=1e6, ir_drop=100.0, ir_drop_model="ladder"
    )
    conv, x = nn.Conv2d(7, 9, 3, stride=2, padding=1, bias=False), torch.rand(2, 7, 9, 8)
    tiles = LayerTiles("layer", conv, replace(find_preset("ideal"), converters=io), (25, 5), seed=0)
    layer = FusedLayer(tiles, conv, io)
    layer.input_range = 1.0
    expected = torch.cat(
        [behind_ladder(part.weight, 100.0, pairs=1) * part.scale[:, None] for part in tiles.slices()], dim=1
    )
    with torch.no_grad():
        conv.weight.copy_(expected.view_as(conv.weight))
        assert torch.allclose(layer(x), conv(x), atol=1e-5)
