"""Work of a frame against hand-computed layers, torch's counter on real runs, and torchvision's published numbers."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import (
    MobileNet_V3_Small_Weights,
    ResNet18_Weights,
    ViT_B_16_Weights,
    mobilenet_v3_small,
    resnet18,
    vit_b_16,
)
from torchvision.models.detection import (
    SSDLite320_MobileNet_V3_Large_Weights,
    maskrcnn_resnet50_fpn,
    ssdlite320_mobilenet_v3_large,
)

from nestevo_hw.base.errors import ConfigError, MappingError
from nestevo_hw.crossbar.chips.chip_file import load_reference
from nestevo_hw.crossbar.chips.workload import LayerWork, count_workload
from nestevo_hw.crossbar.mapping import map_model
from nestevo_hw.models.adapters import Adapters, layers_with_side_path
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny, mobilenet_v3, resnet50_fpn


def test_side_paths_take_what_torch_counts_of_them() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 20, 3, padding=1), nn.Conv2d(20, 20, 3, groups=20), nn.Flatten(), nn.Linear(1200, 5)
    )
    frame, rank = torch.zeros(1, 3, 8, 12), 4
    adapters = Adapters(model, rank, torch.Generator())
    with FlopCounterMode(display=False) as alone:
        model(frame)
    with FlopCounterMode(display=False) as beside, adapters.beside(model):
        model(frame)
    work = count_workload(model, (8, 12)).with_side_paths(layers_with_side_path(model), rank)
    assert work.side_macs == (beside.get_total_flops() - alone.get_total_flops()) // 2 > 0
    assert work.macs == beside.get_total_flops() // 2


def test_layers_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 12 x 16 -> 6 x 8
        nn.Conv2d(8, 8, 3, groups=8),  # -> 4 x 6
        nn.ConvTranspose2d(8, 4, 2, stride=2),  # -> 8 x 12
        nn.Flatten(),
        nn.Linear(4 * 8 * 12, 5),
    )
    work = count_workload(model, (12, 16))
    assert work.layers == {
        "0": LayerWork(rows=27, columns=8, products=48, macs=48 * 27 * 8),
        "1": LayerWork(rows=9, columns=1, products=24, macs=24 * 9 * 8, groups=8),
        "2": LayerWork(rows=8, columns=16, products=24, macs=24 * 8 * 16),
        "4": LayerWork(rows=384, columns=5, products=1, macs=384 * 5),
    }
    assert work.other_macs == 0
    assert (work.size, work.network_size, work.regions) == ((12, 16), (12, 16), 0)


def test_faster_rcnn_at_the_papers_size() -> None:
    work = count_workload(resnet50_fpn(11), (720, 1280))
    assert work.network_size == (768, 1344)  # resized to 750 x 1333, padded to multiples of 32
    assert work.regions == 1000
    assert work.layers["backbone.body.conv1"] == LayerWork(
        rows=147, columns=64, products=384 * 672, macs=384 * 672 * 147 * 64
    )
    levels = [(192, 336), (96, 168), (48, 84), (24, 42), (12, 21)]
    assert work.layers["rpn.head.conv.0.0"].products == sum(height * width for height, width in levels)
    assert work.layers["roi_heads.box_head.fc6"] == LayerWork(
        rows=12544, columns=1024, products=1000, macs=1000 * 12544 * 1024
    )
    assert 2 * work.macs == pytest.approx(4.15e11, rel=1e-3)
    assert work.macs / 1e9 == pytest.approx(load_reference().reference_gmac, rel=1e-4)


def test_every_layer_of_the_mapping_is_counted() -> None:
    model = mobilenet_v3(11)
    assert set(count_workload(model, (720, 1280)).layers) == {layer.name for layer in map_model(model).layers}


@pytest.mark.parametrize(
    ("build", "published", "size"),
    [
        (resnet18, ResNet18_Weights.IMAGENET1K_V1, (224, 224)),
        (mobilenet_v3_small, MobileNet_V3_Small_Weights.IMAGENET1K_V1, (224, 224)),
        (vit_b_16, ViT_B_16_Weights.IMAGENET1K_V1, (224, 224)),
        (ssdlite320_mobilenet_v3_large, SSDLite320_MobileNet_V3_Large_Weights.COCO_V1, (320, 320)),
    ],
)
def test_macs_are_those_torchvision_publishes(build, published, size) -> None:
    options = {"weights_backbone": None} if build is ssdlite320_mobilenet_v3_large else {}
    with torch.device("meta"):
        model = build(**options)
    if build is ssdlite320_mobilenet_v3_large:
        model = build(**options)  # its anchors are computed on construction
    gmacs = count_workload(model, size).macs / 1e9
    assert gmacs == pytest.approx(published.meta["_ops"], abs=5.1e-4)  # published with three decimals


@pytest.mark.parametrize("build", [resnet18, mobilenet_v3_small])
def test_macs_are_those_of_a_real_run(build) -> None:
    model = build().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 3, 96, 64))
    assert 2 * count_workload(model, (96, 64)).macs == counter.get_total_flops()


def test_macs_of_a_detector_are_those_of_a_real_run() -> None:
    model = fasterrcnn_tiny(4).eval()
    regions = []
    model.roi_heads.box_head.register_forward_hook(lambda _, received, __: regions.append(len(received[0])))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model([torch.rand(3, 96, 128)])
    work = count_workload(model, (96, 128))
    head = sum(layer.rows * layer.columns for name, layer in work.layers.items() if name.startswith("roi_heads"))
    assert 0 < regions[0] <= work.regions == 60
    assert 2 * (work.macs - (work.regions - regions[0]) * head) == counter.get_total_flops()


def test_attention_is_counted_by_its_projections_and_the_rest() -> None:
    model = nn.MultiheadAttention(16, 2, batch_first=True)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.last = model, nn.Linear(16, 4)

        def forward(self, x):
            return self.last(self.attention(x, x, x)[0])

    work = count_workload(Attention(), inputs=torch.zeros(1, 10, 16))
    assert work.layers == {
        "attention.in_proj": LayerWork(rows=16, columns=48, products=10, macs=10 * 16 * 48),
        "attention.out_proj": LayerWork(rows=16, columns=16, products=10, macs=10 * 16 * 16),
        "last": LayerWork(rows=16, columns=4, products=10, macs=640),
    }
    assert work.other_macs == 2 * 10 * 10 * 16  # scores and values


def test_masks_are_counted_for_every_detection() -> None:
    work = count_workload(maskrcnn_resnet50_fpn(weights=None, weights_backbone=None), (720, 1280))
    assert work.layers["roi_heads.mask_head.0.0"].products == 100 * 14 * 14


def test_shapes_are_enough() -> None:
    with torch.device("meta"):
        model = resnet18()
    assert count_workload(model, (64, 64)) == count_workload(resnet18(), (64, 64))


def test_a_model_that_looks_at_values_is_run() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            x = self.conv(x)
            return x * 2 if x.sum().item() > 0 else x

    assert count_workload(Branch(), (4, 5)).layers["conv"].products == 20


def test_the_model_is_left_as_it_was() -> None:
    model = resnet18().train()
    model.layer1.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    count_workload(model, (64, 64))
    assert model.training
    assert not model.layer1.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    with pytest.raises(MappingError):
        count_workload(model, inputs=torch.zeros(1, 4, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    with pytest.raises(MappingError, match=r"does not take an input of shape \(1, 3, 8, 8\)") as caught:
        count_workload(nn.Linear(5, 2), (8, 8))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="either the size"):
        count_workload(nn.Linear(5, 2))
    with pytest.raises(ConfigError, match="either the size"):
        count_workload(nn.Linear(5, 2), (1, 5), inputs=torch.zeros(1, 5))
