"""The new global teacher as the mean of the intermediate models (Algorithm 2, line 14), BatchNorm on purpose."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nestevo_hw.base.errors import TaskError

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
