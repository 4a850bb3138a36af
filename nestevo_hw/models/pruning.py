"""Terminal models M1, M2, M3: the teacher structurally pruned by 30, 50 and 70 %."""

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops.misc import FrozenBatchNorm2d

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.classifier import SmallClassifier

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


def prune[M: nn.Module](model: M, ratio: float) -> M:
    """Remove the channels of smallest group magnitude from a detector or classifier, in place.

    A detector's pyramid and the feature handed to the last layer keep their width, so that terminals, intermediates and
    teacher share regions and features.

    Args:
        model: Faster R-CNN or `SmallClassifier`; needs fine-tuning afterwards.
        ratio: share of channels to remove from every prunable layer, above 0 and below 1.

    Raises:
        ConfigError: the ratio is out of range, or the model has frozen BatchNorm layers.
    """
    if not 0.0 < ratio < 1.0:
        raise ConfigError(f"need 0 < pruning ratio < 1, got {ratio}")
    if any(isinstance(m, FrozenBatchNorm2d) for m in model.modules()):
        raise ConfigError("frozen BatchNorm cannot be pruned; build the model with trainable BatchNorm")
    dense, example, fixed = _prunable(model)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    tp.BasePruner(
        dense.eval(),
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=fixed,
    ).step()
    return model


def _prunable(model: nn.Module) -> tuple[nn.Module, tuple[Tensor, ...], list[nn.Module]]:
    """What a dependency graph can trace, inputs for it, and layers that keep their width."""
    if isinstance(model, SmallClassifier):
        return model, (torch.zeros(1, 3, 32, 32),), [model.feature, model.head]
    if not isinstance(model, FasterRCNN):
        raise ConfigError(f"cannot prune a {type(model).__name__}; only Faster R-CNN and the small classifier")
    pool, head = model.roi_heads.box_roi_pool, model.roi_heads.box_head
    last_layer = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
    example = (torch.zeros(1, 3, 128, 160), torch.zeros(2, model.backbone.out_channels, *pool.output_size))
    rpn = model.rpn.head
    fixed = [model.backbone.fpn, rpn.cls_logits, rpn.bbox_pred, last_layer, model.roi_heads.box_predictor]
    return _Dense(model), example, fixed
