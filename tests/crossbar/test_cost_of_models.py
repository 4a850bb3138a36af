"""What is counted of models with depthwise convolutions, attention and layers used in several places."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, vit_b_16

from nestevo_hw.crossbar.chips.chip import Chip
from nestevo_hw.crossbar.chips.chip_file import load_chip
from nestevo_hw.crossbar.chips.cost import ChipCost, chip_cost
from nestevo_hw.crossbar.chips.workload import Workload, count_workload
from nestevo_hw.crossbar.mapping import map_model

HERMES = load_chip("hermes")


def cost_of(build: Callable[[], nn.Module], chip: Chip, *, grouped: bool = False) -> tuple[Workload, ChipCost]:
    with torch.device("meta"):
        model = build()
    work = count_workload(model, (224, 224))
    return work, chip_cost(map_model(model, 256, grouped=grouped), work, chip, chips=40)


def blocks(size: int, limit: int = 256) -> int:
    return -(-size // limit)


def test_a_vision_transformer_by_its_formula() -> None:
    """ViT-B/16 at 224 x 224: 12 layers of width 768, 196 patches and one token for the class."""
    work, cost = cost_of(vit_b_16, HERMES)
    width, tokens, layers, hidden = 768, 197, 12, 3072
    patches = 196 * (3 * 16 * 16) * width
    projections = tokens * width * (3 * width + width)
    perceptron = tokens * 2 * width * hidden
    analog = patches + layers * (projections + perceptron) + width * 1000
    products_of_activations = layers * 2 * tokens * tokens * width  # queries with keys, and weights with values
    assert work.other_macs == cost.digital.macs == products_of_activations
    assert work.macs == analog + products_of_activations
    assert cost.operations == 2 * analog
    (part,) = cost.digital.parts
    assert (part.name, part.reason) == ("other operations", "products of activations, as in attention")
    # Arrays of 256 x 256: three projections in one matrix, one out, two of the perceptron, patches, and the head.
    a_layer = (blocks(3 * width) + blocks(width) + 2 * blocks(hidden)) * blocks(width)
    assert cost.arrays == layers * a_layer + blocks(768) * blocks(width) + blocks(width) * blocks(1000)
    assert cost.energy.digital == pytest.approx(products_of_activations * 4.6e-12)
    every = layers * tokens * a_layer + 196 * 9 + 3 * 4
    assert cost.activity.reads == HERMES.input_cycles * every


SETTINGS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and stride: Table 2 of Sandler et al., MobileNetV2, CVPR 2018."""


def mobile_layers() -> list[tuple[int, int, int, int]]:
    """(inputs of a group, its outputs, groups, positions) of every layer of MobileNetV2 at 224 x 224."""
    side, channels = 112, 32
    found = [(27, 32, 1, side * side)]
    for expansion, outputs, repeats, stride in SETTINGS:
        for i in range(repeats):
            wide = channels * expansion
            if expansion > 1:
                found.append((channels, wide, 1, side * side))
            side //= stride if i == 0 else 1
            found += [(9, 1, wide, side * side), (wide, outputs, 1, side * side)]
            channels = outputs
    return [*found, (320, 1280, 1, 49), (1280, 1000, 1, 1)]


def bands(groups: int) -> int:
    """Arrays of a depthwise convolution: 28 groups of 9 rows fit into 256, equally many in each."""
    return next(groups // count for count in range(28, 0, -1) if groups % count == 0)


def test_mobilenet_by_its_table() -> None:
    layers = mobile_layers()
    macs = sum(inputs * outputs * groups * positions for inputs, outputs, groups, positions in layers)
    depthwise = sum(9 * groups * positions for _, _, groups, positions in layers if groups > 1)
    work, digital = cost_of(mobilenet_v2, HERMES)
    assert work.macs == macs
    assert digital.digital.macs == depthwise
    assert len(digital.digital.parts) == 17
    assert digital.digital.macs_share == pytest.approx(depthwise / macs)
    assert digital.digital.time_s == pytest.approx(depthwise / 40e12)
    arrays = sum(blocks(inputs) * blocks(outputs) for inputs, outputs, groups, _ in layers if groups == 1)
    assert digital.arrays == arrays
    _, diagonal = cost_of(mobilenet_v2, HERMES, grouped=True)
    assert diagonal.digital.macs == 0
    assert diagonal.arrays == arrays + sum(bands(groups) for _, _, groups, _ in layers if groups > 1)
    reads = sum(
        positions * (bands(groups) if groups > 1 else blocks(inputs) * blocks(outputs))
        for inputs, outputs, groups, positions in layers
    )
    assert diagonal.activity.reads == HERMES.input_cycles * reads
    assert diagonal.activity.conversions == HERMES.input_cycles * reads * 256
    weights = sum(inputs * outputs * groups for inputs, outputs, groups, _ in layers)
    assert diagonal.filling.cells == pytest.approx(weights / (diagonal.arrays * 256 * 256))


class Twice(nn.Module):
    """One layer in two places, and another that has the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(300, 300, bias=False)
        self.alias = self.first
        self.tied = nn.Linear(300, 300, bias=False)
        self.tied.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.tied(self.alias(self.first(x)))
        return result


def test_a_layer_used_in_several_places_has_its_arrays_once_and_its_products_of_all() -> None:
    model = Twice()
    work = count_workload(model, inputs=torch.zeros(7, 300))
    assert {name: layer.products for name, layer in work.layers.items()} == {"first": 14, "tied": 7}
    cost = chip_cost(map_model(model), work, HERMES)
    assert cost.arrays == 2 * 4  # a tied weight has tiles of its own, as in the mapping
    assert cost.activity.reads == HERMES.input_cycles * (14 + 7) * 4
    assert cost.operations == 2 * 21 * 300 * 300
