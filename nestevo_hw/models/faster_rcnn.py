"""The Faster R-CNN family, built from torchvision's own classes: from tiny (CPU) to ResNet-50 FPN (paper)."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_320_fpn,
    fasterrcnn_resnet50_fpn,
)
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.models.resnet import BasicBlock, conv1x1
from torchvision.ops import MultiScaleRoIAlign

RATIOS = (0.5, 1.0, 2.0)
"""Of the heights and widths of anchors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyWidths:
    """Channel counts of a small detector."""

    stem: int = 24
    stages: tuple[int, int, int] = (32, 64, 128)
    """Of the levels that the pyramid reads."""
    fpn: int = 64
    box_hidden: int = 128
    """Width of the first layer of the box head; pruning may shrink it."""
    box_feature: int = 128
    """Width of the feature handed to the box predictor: the same in teacher, intermediates and terminals."""
    roi_bins: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """How many boxes of a frame are looked at when the detector is in use; in training there are always as many."""

    compared: int = 300
    """The surest of each level, which NMS compares."""
    pooled: int = 60
    """Those that are left of all levels, which the box head looks at."""


def _stage(inputs: int, outputs: int, blocks: int, *, stride: int = 2) -> nn.Sequential:
    shortcut = None
    if (inputs, stride) != (outputs, 1):
        shortcut = nn.Sequential(conv1x1(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs))
    first = BasicBlock(inputs, outputs, stride=stride, downsample=shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))


def fasterrcnn_tiny(
    num_classes: int, *, min_size: int = 128, max_size: int = 160, widths: TinyWidths | None = None
) -> FasterRCNN:
    """Faster R-CNN of under one million parameters for frames of 128 to 320 px.

    Args:
        num_classes: object classes plus one for background.
        min_size: shorter side of the network's input, pixels.
        max_size: longer side of the network's input, pixels.
        widths: channel counts.

    Returns:
        A torchvision FasterRCNN: list of (3, H, W) float images in 0..1 in, list of detections out.
    """
    widths = widths or TinyWidths()
    c2, c3, c4 = widths.stages
    body = OrderedDict(
        stem=_stem(widths.stem),
        c2=_stage(widths.stem, c2, 1),
        c3=_stage(c2, c3, 1),
        c4=_stage(c3, c4, 2),
    )
    return _detector(
        body, ("c2", "c3", "c4"), (10, 20, 40, 80), widths, num_classes, min_size=min_size, max_size=max_size
    )


def fasterrcnn_resnet18_slim(num_classes: int, *, min_size: int = 256, max_size: int = 320) -> FasterRCNN:
    """Faster R-CNN with the eight blocks of ResNet-18 at a quarter of its width, for frames of 320 px.

    The pyramid reads the outputs of the fourth, sixth and eighth block.

    Args:
        num_classes: object classes plus one for background.
        min_size: shorter side of the network's input, pixels.
        max_size: longer side of the network's input, pixels.
    """
    widths = TinyWidths(stem=16, stages=(32, 64, 128), fpn=48)
    return _detector(
        _resnet(widths, (2, 2, 2, 2)), _RESNET_LEVELS, (20, 40, 80, 160), widths, num_classes,
        min_size=min_size, max_size=max_size,
    )  # fmt: skip


def fasterrcnn_resnet30_slim(num_classes: int, *, min_size: int = 256, max_size: int = 320) -> FasterRCNN:
    """Faster R-CNN with fourteen basic blocks that take most of its time, for frames of 320 px: a base of supernets.

    Pyramid and box head are narrow, proposals few. The pyramid reads the outputs of the sixth, tenth and last block.

    Args:
        num_classes: object classes plus one for background.
        min_size: shorter side of the network's input, pixels.
        max_size: longer side of the network's input, pixels.
    """
    widths = TinyWidths(stem=16, stages=(64, 96, 96), fpn=32, box_hidden=96, roi_bins=4)
    return _detector(
        _resnet(widths, (2, 4, 4, 4)), _RESNET_LEVELS, (20, 40, 80, 160), widths, num_classes,
        min_size=min_size, max_size=max_size, proposals=Proposals(compared=100, pooled=40),
    )  # fmt: skip


def _resnet(widths: TinyWidths, blocks: tuple[int, int, int, int]) -> OrderedDict[str, nn.Module]:
    """ResNet's stem with a smaller kernel, and four stages of basic blocks, the first as wide as the stem."""
    stem = _stem(widths.stem)
    stem.append(nn.MaxPool2d(3, stride=2, padding=1))
    c3, c4, c5 = widths.stages
    return OrderedDict(
        stem=stem,
        c2=_stage(widths.stem, widths.stem, blocks[0], stride=1),
        c3=_stage(widths.stem, c3, blocks[1]),
        c4=_stage(c3, c4, blocks[2]),
        c5=_stage(c4, c5, blocks[3]),
    )


_RESNET_LEVELS = ("c3", "c4", "c5")
"""That the pyramid reads."""


def _stem(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )


def _detector(
    body: Mapping[str, nn.Module],
    levels: Sequence[str],
    anchors_px: Sequence[int],
    widths: TinyWidths,
    num_classes: int,
    *,
    min_size: int,
    max_size: int,
    proposals: Proposals = Proposals(),
) -> FasterRCNN:
    """The small detector around a body whose named levels the pyramid reads; an anchor size for each and one more."""
    backbone = BackboneWithFPN(
        nn.Sequential(OrderedDict(body)),
        return_layers={name: name for name in levels},
        in_channels_list=list(widths.stages),
        out_channels=widths.fpn,
    )
    return FasterRCNN(
        backbone,
        min_size=min_size,
        max_size=max_size,
        rpn_anchor_generator=AnchorGenerator(tuple((side,) for side in anchors_px), (RATIOS,) * len(anchors_px)),
        rpn_pre_nms_top_n_train=400,
        rpn_pre_nms_top_n_test=proposals.compared,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=proposals.pooled,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=48,
        box_detections_per_img=40,
        box_roi_pool=MultiScaleRoIAlign(list(levels), output_size=widths.roi_bins, sampling_ratio=2),
        box_head=_box_head(widths),
        box_predictor=FastRCNNPredictor(widths.box_feature, num_classes),
    )


def _box_head(widths: TinyWidths) -> TwoMLPHead:
    head = TwoMLPHead(widths.fpn * widths.roi_bins**2, widths.box_hidden)
    head.fc7 = nn.Linear(widths.box_hidden, widths.box_feature)
    return head


def resnet50_fpn(num_classes: int, *, min_size: int = 800, max_size: int = 1333) -> FasterRCNN:
    """Faster R-CNN ResNet-50 FPN, the paper's teacher, with random weights."""
    return fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=num_classes, min_size=min_size, max_size=max_size
    )


def mobilenet_v3(num_classes: int, *, min_size: int = 320, max_size: int = 640) -> FasterRCNN:
    """Faster R-CNN MobileNetV3-Large 320 FPN, with random weights."""
    return fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=num_classes, min_size=min_size, max_size=max_size
    )


def box_feature_width(model: FasterRCNN) -> int:
    """Width of the feature handed to the box predictor."""
    width: int = model.roi_heads.box_predictor.cls_score.in_features
    return width


def as_list(images: Tensor) -> list[Tensor]:
    """(N, 3, H, W) uint8 to the list of (3, H, W) float images in 0..1 that torchvision's detectors take."""
    return list(images.float().div_(255).unbind(0))
