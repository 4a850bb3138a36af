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
from nestevo_hw.models.batch_norm import norms
from nestevo_hw.tasks.task import VisionTask

MOST_FRAMES = 24
"""Of a scene that are looked at, evenly."""
MOST_RELATED = 12
"""Others that a terminal learns from, the nearest ones."""
_LEAST_VARIANCE = 1e-5
"""Of a channel, below which all are alike: BatchNorm's own epsilon."""
_LEAST_APART = 1e-9
"""Of a scene from the training data, so that every distance is finite."""


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
    def of(cls, task: VisionTask, model: nn.Module, images: Tensor, device: torch.device) -> "SceneStatistics":
        """Those of frames.

        Args:
            task: of the model.
            model: with BatchNorm; its statistics are replaced.
            images: (N, 3, H, W) uint8.
            device: of the model.
        """
        task.re_estimate(model, thinned(images, MOST_FRAMES).to(device))
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


def relative_distances(scenes: Mapping[str, SceneStatistics], familiar: SceneStatistics) -> dict[str, dict[str, float]]:
    """How far the scenes of others lie from each one, where the training data lie at 1.

    Args:
        scenes: of each terminal.
        familiar: of frames like those that the model was trained on.

    Returns:
        By terminal, by other terminal.
    """
    return {
        name: {
            other: own.apart(another) / max(own.apart(familiar), _LEAST_APART)
            for other, another in scenes.items() if other != name
        }
        for name, own in scenes.items()
    }  # fmt: skip


def nearest(distances: Mapping[str, float], within: float) -> tuple[str, ...]:
    """Terminals whose scenes lie within a distance, the nearest first, at most `MOST_RELATED`."""
    near = sorted((apart, name) for name, apart in distances.items() if apart <= within)
    return tuple(name for _, name in near[:MOST_RELATED])
