"""Terminal models M1, M2, M3: the teacher structurally pruned by 30, 50 and 70 %."""

import warnings
from typing import Protocol, runtime_checkable

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops.misc import FrozenBatchNorm2d

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.plugins import FAULTS, told
from nestevo_hw.models.classifier import last_layer

PRUNING_RATIOS = {"m1": 0.3, "m2": 0.5, "m3": 0.7}
"""Share of channels removed from every prunable layer (paper section 7.1)."""


class _Dense(nn.Module):
    """The detector without proposals, pooling and NMS, which a dependency graph cannot trace."""

    def __init__(self, detector: FasterRCNN) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.rpn_head = detector.rpn.head
        self.box_head = detector.roi_heads.box_head
        self.box_predictor = detector.roi_heads.box_predictor

    def forward(self, image: Tensor, pooled: Tensor) -> list[Tensor]:
        """Dense outputs for one image (1, 3, H, W) and pooled regions (R, C, bins, bins)."""
        objectness, deltas = self.rpn_head(list(self.backbone(image).values()))
        return [*objectness, *deltas, *self.box_predictor(self.box_head(pooled))]


@runtime_checkable
class PrunesItself(Protocol):
    """A model of the user's own that knows better which of its channels can go."""

    def prune_channels(self, ratio: float) -> None:
        """Remove a share of the channels, in place: names of weights stay, and no more than their shapes shrink."""
        ...


def prune[M: nn.Module](model: M, ratio: float, size: tuple[int, int] = (32, 32)) -> M:
    """Remove the channels of smallest group magnitude from a model, in place.

    What reaches a model's outputs keeps its width, and so does the feature that a classifier hands to its last layer or
    a Faster R-CNN to its predictor, with the pyramid, so that terminals, intermediates and teacher share regions and
    features. A model with `PrunesItself` is asked to do it.

    Args:
        model: needs fine-tuning afterwards.
        ratio: share of channels to remove from every prunable layer, above 0 and below 1.
        size: (H, W) of its frames, pixels; of detectors of the zoo that plays no part.

    Raises:
        ConfigError: the ratio is out of range, the model has frozen BatchNorm layers, or it cannot be traced or does
            not run when pruned.
    """
    if not 0.0 < ratio < 1.0:
        raise ConfigError(f"need 0 < pruning ratio < 1, got {ratio}")
    if isinstance(model, PrunesItself):
        try:
            model.prune_channels(ratio)
        except FAULTS as error:  # somebody's code, told as theirs
            raise ConfigError(f"{type(model).__name__}.prune_channels({ratio}) failed: {told(error)}") from error
        return model
    if any(isinstance(m, FrozenBatchNorm2d) for m in model.modules()):
        raise ConfigError("frozen BatchNorm cannot be pruned; build the model with trainable BatchNorm")
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if isinstance(model, FasterRCNN):
        _prune(*_detector(model), ratio)
        return model
    example = (torch.zeros(1, 3, *size),)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parameters outside of layers, which fails next
            _prune(model.eval(), example, _lasting(model, example), ratio)
        model(*example)
    except FAULTS as error:  # of a model that nobody has seen before
        raise ConfigError(
            f"a {type(model).__name__} cannot be pruned by itself ({told(error)}); give it a method "
            "prune_channels(ratio), or let terminals run the teacher's checkpoint"
        ) from error
    return model


def prune_within[M: nn.Module](block: M, ratio: float, example: Tensor, kept: list[nn.Module]) -> M:
    """Remove the channels of smallest group magnitude from a part of a model, in place.

    Args:
        block: takes one tensor.
        ratio: share of channels to remove from every other layer.
        example: what it takes.
        kept: layers whose outputs keep their width.
    """
    for parameter in block.parameters():
        parameter.requires_grad_(True)
    with torch.enable_grad():
        _prune(block, (example,), kept, ratio)
    return block


def _prune(dense: nn.Module, example: tuple[Tensor, ...], fixed: list[nn.Module], ratio: float) -> None:
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    tp.BasePruner(dense.eval(), example, importance=importance, pruning_ratio=ratio, ignored_layers=fixed).step()


def _lasting(model: nn.Module, example: tuple[Tensor, ...]) -> list[nn.Module]:
    """Layers whose outputs keep their width: those that reach a model's outputs, and those before its last layer.

    The widths of any other layer are the inputs of a later one.
    """
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    narrowing = {nn.Linear: tp.prune_linear_in_channels, nn.Conv2d: tp.prune_conv_in_channels}
    kept: list[nn.Module] = []
    for module in model.modules():
        if type(module) not in narrowing:
            continue
        widen = tp.prune_linear_out_channels if isinstance(module, nn.Linear) else tp.prune_conv_out_channels
        group = graph.get_pruning_group(module, widen, idxs=[0])
        if not any(graph.is_in_channel_pruning_fn(dep.handler) for dep, _ in group):
            kept.append(module)
    if not any(isinstance(module, nn.Linear) for module in model.modules()):
        return kept
    head = model.get_submodule(last_layer(model))
    before = graph.get_pruning_group(head, tp.prune_linear_in_channels, idxs=[0])
    return [*kept, *(dep.target.module for dep, _ in before if graph.is_out_channel_pruning_fn(dep.handler))]


def _detector(model: FasterRCNN) -> tuple[nn.Module, tuple[Tensor, ...], list[nn.Module]]:
    """What a dependency graph can trace, inputs for it, and layers that keep their width."""
    pool, head = model.roi_heads.box_roi_pool, model.roi_heads.box_head
    last_fc = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
    example = (torch.zeros(1, 3, 128, 160), torch.zeros(2, model.backbone.out_channels, *pool.output_size))
    rpn = model.rpn.head
    fixed = [model.backbone.fpn, rpn.cls_logits, rpn.bbox_pred, last_fc, model.roi_heads.box_predictor]
    return _Dense(model), example, fixed
