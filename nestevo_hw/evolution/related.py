"""Which terminals see the same kind of scene, told from their frames alone.

A scene is described by what BatchNorm would take from it: mean and spread of every channel of one model's features.
Weather and light are in these statistics more than objects are. How far two scenes lie apart is measured in terms of
how far the training data lie from them, so that no scale has to be known.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nestevo_hw.evolution.trigger import thinned
from nestevo_hw.models.batch_norm import has_batch_norm, norms
from nestevo_hw.tasks.task import VisionTask

MOST_FRAMES = 64
"""Of a scene that are looked at, evenly."""
_LEAST_VARIANCE = 1e-5
"""Of a channel, below which all are alike: BatchNorm's own epsilon."""


@dataclass(frozen=True, slots=True)
class SceneStatistics:
    """Statistics of one scene over all channels of a model's BatchNorm layers."""

    mean: Tensor
    """(C,)."""
    variance: Tensor
    """(C,)."""
    weight: Tensor
    """(C,): every layer counts alike; they add up to 1."""

    @classmethod
    def of(cls, task: VisionTask, model: nn.Module, images: Tensor) -> "SceneStatistics":
        """Those of frames.

        Args:
            task: of the model.
            model: with BatchNorm; its statistics are replaced.
            images: (N, 3, H, W) uint8.
        """
        task.re_estimate(model, thinned(images, MOST_FRAMES))
        means, variances = (
            [kept.double().cpu() for _, norm in norms(model) if (kept := getattr(norm, name)) is not None]
            for name in ("running_mean", "running_var")
        )
        weights = [torch.full_like(mean, 1 / (len(means) * len(mean))) for mean in means]
        return cls(torch.cat(means), torch.cat(variances) + _LEAST_VARIANCE, torch.cat(weights))

    def apart(self, other: "SceneStatistics") -> float:
        """Squared 2-Wasserstein distance of normal distributions, in their mean variance, averaged over channels."""
        moved = (self.mean - other.mean) ** 2 + (self.variance.sqrt() - other.variance.sqrt()) ** 2
        return float((self.weight * moved / ((self.variance + other.variance) / 2)).sum())


def relative_distances(
    task: VisionTask, model: nn.Module, scenes: Mapping[str, Tensor], familiar: Tensor
) -> dict[str, dict[str, float]]:
    """How far the scenes of others lie from each one, where the training data lie at 1.

    Args:
        task: of the model.
        model: in eval mode; its BatchNorm statistics are replaced.
        scenes: (N, 3, H, W) uint8 frames of each terminal.
        familiar: (M, 3, H, W) uint8 frames like those that the model was trained on.

    Returns:
        By terminal, by other terminal; empty for a model without BatchNorm.
    """
    if not has_batch_norm(model):
        return {}
    known = SceneStatistics.of(task, model, familiar)
    seen = {name: SceneStatistics.of(task, model, images) for name, images in scenes.items()}
    tiny = torch.finfo(torch.double).tiny
    return {
        name: {
            other: own.apart(another) / max(own.apart(known), tiny)
            for other, another in seen.items() if other != name
        }
        for name, own in seen.items()
    }  # fmt: skip
