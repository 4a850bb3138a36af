"""Placement, splits and tile counts, and every case in which a layer must not go silently digital."""

import pytest
import torch
from aihwkit.nn import AnalogLinear
from aihwkit.simulator.tiles.array import TileModuleArray
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small, resnet18

from nestevo_hw.base.errors import ConfigError, MappingError
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.crossbar.placement import check_weights
from nestevo_hw.crossbar.reference import rpu_config
from nestevo_hw.crossbar.tile_sizes import parse_tile, split_sizes, tile_size
from nestevo_hw.models.faster_rcnn import resnet50_fpn


@given(st.integers(1, 5000), st.integers(1, 600))
def test_splits_are_complete_balanced_and_as_few_as_possible(size: int, limit: int) -> None:
    parts = split_sizes(size, limit)
    assert sum(parts) == size
    assert max(parts) <= limit
    assert max(parts) - min(parts) <= 1
    assert (len(parts) - 1) * limit < size


@pytest.mark.parametrize(("inputs", "outputs"), [(600, 300), (256, 257), (17, 3), (2048, 1000)])
def test_splits_are_those_of_aihwkit(inputs: int, outputs: int) -> None:
    layer = AnalogLinear(inputs, outputs, rpu_config=rpu_config(find_preset("ideal"), (256, 128)))
    array = layer.analog_module
    if isinstance(array, TileModuleArray):
        assert tuple(array.in_sizes) == split_sizes(inputs, 256)
        assert tuple(array.out_sizes) == split_sizes(outputs, 128)
    else:
        assert split_sizes(inputs, 256) == (inputs,)
        assert split_sizes(outputs, 128) == (outputs,)


@pytest.fixture(scope="module")
def resnet50_detector() -> nn.Module:
    with torch.device("meta"):  # only shapes are counted
        return resnet50_fpn(11)


@pytest.mark.parametrize(("tile", "tiles", "utilisation"), [(512, 240, 0.66), (256, 672, 0.94), (128, 2556, 0.99)])
def test_tiles_of_faster_rcnn_resnet50(resnet50_detector: nn.Module, tile: int, tiles: int, utilisation: float) -> None:
    report = map_model(resnet50_detector, tile)
    assert report.totals.analog_layers == 68
    assert report.totals.tiles == tiles
    assert report.totals.utilisation == pytest.approx(utilisation, abs=0.006)
    assert report.totals.weight_error is None


@pytest.mark.parametrize(("tile", "tiles"), [(512, 74), (256, 195), (128, 699)])
def test_tiles_of_resnet18(tile: int, tiles: int) -> None:
    assert map_model(resnet18(num_classes=10), tile).totals.tiles == tiles


def test_totals_add_up() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten())
    report = map_model(model, (16, 4)).document()
    # 27 inputs on 16 rows: 2, 8 outputs on 4 columns: 2, so 4 tiles of 64 cells for 216 weights
    assert report["totals"] == {
        "analog_layers": 1,
        "digital_layers": 1,
        "tiles": 4,
        "utilisation": pytest.approx(216 / 256),
        "analog_weight_share": pytest.approx(216 / (216 + 8 * 4 * 9)),
        "weight_error": None,
    }
    assert report["layers"][0]["row_splits"] == [14, 13]
    assert report["layers"][0]["column_splits"] == [4, 4]
    assert report["tile"] == [16, 4]


class _Own(nn.Conv2d):
    """A subclass as users write them."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight - weight.mean(), bias)


class _Scaled(nn.Linear):
    """A subclass that changes what it takes."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input * 2)


def _patched() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: x + 1
    return layer


def _empty() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.zeros(4, 0))
    return layer


def _sparse() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse(), requires_grad=False)
    return layer


class _Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.rand(4, 4))


def _hooked() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda _module, _inputs, output: output + 1)
    return layer


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "grouped convolution (2 groups)"),
        (nn.Conv2d(4, 4, 3, groups=4), "grouped convolution (4 groups)"),
        (_Own(4, 4, 3), "_Own is a subclass"),
        (_Scaled(4, 4), "_Scaled is a subclass"),
        (_patched(), "its forward was replaced"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "computed from other parameters"),
        (nn.utils.spectral_norm(nn.Linear(4, 4)), "carries hooks"),
        (_hooked(), "carries hooks"),
        (nn.utils.parametrizations.weight_norm(nn.LSTM(4, 4), "weight_hh_l0"), "computed from other parameters"),
        (nn.Bilinear(4, 4, 4), "Bilinear is not a convolution or a linear layer"),
        (nn.Linear(4, 4).half(), "holds torch.float16, the tiles need float32"),
        (nn.Conv2d(4, 4, 1).double(), "holds torch.float64"),
        (_empty(), "holds no weights"),
        (nn.LazyLinear(4), "LazyLinear has no weights before its first input"),
        (nn.LazyConv2d(4, 3), "LazyConv2d has no weights before its first input"),
        (_sparse(), "its weight is stored as torch.sparse_coo"),
    ],
)
def test_what_cannot_be_mapped_is_listed_with_its_reason(layer: nn.Module, reason: str) -> None:
    report = map_model(nn.ModuleDict({"odd": layer, "fine": nn.Linear(4, 4)}))
    placements = {entry.name: entry for entry in report.layers}
    assert placements["fine"].placement == "analog"
    assert placements["odd"].placement == "digital"
    assert reason in placements["odd"].reason
    assert placements["odd"].tiles == 0


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_quantised_and_scripted_layers_stay_digital_with_their_reason() -> None:
    quantised = torch.ao.nn.quantized
    layers = {
        "static": quantised.Linear(4, 6),
        "dynamic": quantised.dynamic.Linear(4, 4),
        "conv": quantised.Conv2d(4, 4, 3),
    }
    report = map_model(nn.ModuleDict({**layers, "script": torch.jit.script(nn.Linear(4, 4)), "fine": nn.Linear(4, 4)}))
    entries = {entry.name: entry for entry in report.layers}
    assert {name for name, entry in entries.items() if "holds quantised weights" in entry.reason} == set(layers)
    assert entries["static"].shape == (6, 4)
    assert "is not a convolution or a linear layer" in entries["script"].reason
    assert [entry.name for entry in report.analog] == ["fine"]


class _Attention(nn.MultiheadAttention):
    """A subclass that may compute something else."""


def test_attention_of_an_unknown_kind_stays_digital_as_a_whole() -> None:
    report = map_model(nn.ModuleDict({"attention": _Attention(8, 2), "fine": nn.Linear(8, 8)}))
    assert {entry.name: entry.placement for entry in report.layers} == {
        "attention": "digital",
        "attention.out_proj": "digital",
        "fine": "analog",
    }


def test_layers_that_share_a_weight_say_so() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    entries = map_model(nn.Sequential(first, second)).layers
    assert [entry.placement for entry in entries] == ["analog", "analog"]
    assert entries[1].reason == "matrix-vector product; has the weight of 0, on tiles of its own"


def test_a_layer_under_two_names_is_counted_once() -> None:
    shared = nn.Linear(4, 4)
    report = map_model(nn.ModuleDict({"a": shared, "b": shared}))
    (entry,) = report.layers
    assert (entry.name, entry.aliases, entry.tiles) == ("a", ("b",), 1)
    assert "used under 2 names" in entry.reason


def test_symmetric_same_padding_is_mapped() -> None:
    (entry,) = map_model(nn.Conv2d(2, 2, 3, padding="same")).layers
    assert entry.placement == "analog"


def test_keep_digital_takes_subtrees_and_refuses_unknown_names() -> None:
    model = resnet18()
    report = map_model(model, keep_digital=("layer1", "fc"))
    digital = {entry.name for entry in report.layers if entry.placement == "digital"}
    assert digital == {"fc", *(f"layer1.{i}.conv{k}" for i in (0, 1) for k in (1, 2))}
    with pytest.raises(ConfigError, match=r"'layer9', which the model does not have; did you mean 'layer"):
        map_model(model, keep_digital=("layer9",))


def test_mobilenet_keeps_its_depthwise_convolutions_digital() -> None:
    report = map_model(mobilenet_v3_small())
    assert all(("grouped" in entry.reason) == (entry.placement == "digital") for entry in report.layers)
    assert 0.9 < report.totals.analog_weight_share < 1.0


def test_a_model_without_anything_to_map_is_refused() -> None:
    with pytest.raises(MappingError, match="no layer of the model can be placed"):
        map_model(nn.Sequential(nn.ReLU()))
    with pytest.raises(MappingError, match="grouped convolution"):
        map_model(nn.Conv2d(2, 2, 2, groups=2))


@pytest.mark.parametrize("tile", [0, -3, (256, 0), 100_000])
def test_impossible_tiles(tile: int | tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="need a tile of 1 to 65536 rows and columns"):
        tile_size(tile)


def test_tile_sizes_as_text() -> None:
    assert parse_tile("256") == (256, 256)
    assert parse_tile("128x64") == (128, 64)
    for text in ("", "x", "12x", "1x2x3", "-4", "2.5", "a"):
        with pytest.raises(ConfigError, match="need a tile such as 256 or 256x128"):
            parse_tile(text)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.tensor([[1.0, float("nan")]]), "conv3 holds NaN or infinite weights"),
        (torch.tensor([[float("inf")]]), "conv3 holds NaN or infinite weights"),
        (torch.ones(2, 2, dtype=torch.float16), "conv3 holds torch.float16, the tiles need float32"),
        (torch.ones(2, 2, dtype=torch.float64), "conv3 holds torch.float64"),
        (torch.ones(2, 2, device="meta"), "conv3 has no values"),
    ],
)
def test_weights_that_no_conductance_can_hold(weight: torch.Tensor, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        check_weights("conv3", weight)
