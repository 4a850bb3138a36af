"""The new global teacher as the mean of the intermediate models (Algorithm 2, line 14), BatchNorm on purpose."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nestevo_hw.errors import TaskError

StateDict = Mapping[str, Tensor]


def average(states: Sequence[StateDict]) -> dict[str, Tensor]:
    """Mean of K state dicts of one architecture.

    BatchNorm statistics of different scenes must not be averaged plainly: the variance over all scenes is the mean of
    the variances plus the variance of the means. Integer buffers take the first model's value.

    Raises:
        TaskError: the models differ in structure, so their mean is undefined (paper Table 2).
    """
    first = states[0]
    for other in states[1:]:
        if {n: t.shape for n, t in other.items()} != {n: t.shape for n, t in first.items()}:
            raise TaskError("models of different structure cannot be averaged; average intermediate models instead")
    mean = {
        name: torch.stack([s[name] for s in states]).mean(0) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in first.items()
    }
    for name in [n for n in mean if n.endswith("running_var")]:
        centres = torch.stack([s[name.replace("running_var", "running_mean")] for s in states])
        mean[name] = mean[name] + centres.var(0, correction=0)
    return mean


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
