"""Domain-adversarial training (baseline A1): features from which nobody can tell source from target frames.

For detection as in Chen et al., "Domain Adaptive Faster R-CNN for Object Detection in the Wild", CVPR 2018: a domain
classifier on every place of the feature maps, one on every region's feature, both behind a gradient reversal layer
(Ganin and Lempitsky, ICML 2015), and agreement between the two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.ranges import WEIGHT, WIDTH

SOURCE, TARGET = 0.0, 1.0
"""Labels of the two domains: labelled in-domain frames, and unlabelled ones of a drifted scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialConfig:
    """Strength of domain-adversarial training."""

    weight: Annotated[float, WEIGHT] = 0.1
    """Of the domain losses beside the supervised loss on frames of the source domain."""
    agreement: Annotated[float, WEIGHT] = 0.1
    """Of the agreement between image and region classifiers, among the domain losses."""
    hidden_width: Annotated[int, WIDTH] = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFeatures:
    """Features of a batch of N frames, as the domain classifiers take them."""

    maps: Sequence[Tensor]
    """(N, M, h, w) feature maps, one a pyramid level; empty for a task without them."""
    regions: Sequence[Tensor]
    """(R_i, D) features of each frame's regions."""
    real: Tensor | None = None
    """(R,) bool, which of all regions in a row count; None = all."""


class DomainClassifiers(nn.Module):
    """Source or target domain? Asked of every place of the feature maps and of every region."""

    def __init__(self, map_channels: int | None, feature_width: int, config: AdversarialConfig) -> None:
        super().__init__()
        self._agreement = config.agreement
        hidden = config.hidden_width
        self.regions = nn.Sequential(nn.Linear(feature_width, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.maps = None
        if map_channels is not None:
            self.maps = nn.Sequential(nn.Conv2d(map_channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, 1, 1))

    def loss(self, features: DomainFeatures, domain: float, strength: float) -> Tensor:
        """Cross-entropy of both classifiers; whoever made the features receives its reversed gradient.

        Args:
            features: with gradient.
            domain: SOURCE or TARGET.
            strength: factor of the reversed gradient, 0 to 1.
        """
        counts = [len(r) for r in features.regions]
        every: Tensor = self.regions(reverse_gradient(torch.cat(list(features.regions)), strength)).flatten()
        shares = torch.ones_like(every) if features.real is None else features.real.to(every)
        shares = shares / shares.sum().clamp(min=1)
        wanted = torch.full_like(every, domain)
        loss = F.binary_cross_entropy_with_logits(every, wanted, weight=shares, reduction="sum")
        if self.maps is None:
            return loss
        answers = [self.maps(reverse_gradient(m, strength)) for m in features.maps]
        image = [F.binary_cross_entropy_with_logits(a, torch.full_like(a, domain)) for a in answers]
        whole = torch.stack([a.sigmoid().mean((1, 2, 3)) for a in answers]).mean(0)
        frames = torch.cat([one.expand(count) for one, count in zip(whole, counts, strict=True)])
        apart = ((frames - every.sigmoid()) ** 2 * shares).sum()
        return loss + torch.stack(image).mean() + self._agreement * apart


def reversal_strength(progress: float) -> float:
    """Factor of the reversed gradient, from 0 to 1 over a training (Ganin and Lempitsky), at `progress` 0 to 1."""
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


def reverse_gradient(features: Tensor, strength: float) -> Tensor:
    """The same values, with gradient times minus `strength`."""
    reversed_: Tensor = _Reversal.apply(features, strength)
    return reversed_


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength  # type: ignore[attr-defined]
        return features.view_as(features)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None  # type: ignore[attr-defined]
