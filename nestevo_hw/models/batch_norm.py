"""BatchNorm statistics of a scene in place of those of the training data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def batch_norm_bytes(model: nn.Module) -> int:
    """Size of a model's BatchNorm statistics, mean and variance of each channel."""
    return sum(
        b.nbytes for m in model.modules() if isinstance(m, nn.BatchNorm2d) for b in m.buffers() if b.is_floating_point()
    )


@torch.no_grad()
def re_estimate_batch_norm(model: nn.Module, dense: nn.Module, batches: Sequence[Tensor]) -> None:
    """Replace the BatchNorm statistics of `model` by those of the given inputs, in place.

    Args:
        model: its BatchNorm layers are updated; stays in eval mode.
        dense: the part of the model to run, such as a detector's backbone.
        batches: (N, 3, H, W) normalised inputs of `dense`.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean over the batches
        norm.train()
    for batch in batches:
        dense(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
