"""The last layer of a new block, with its shortcut, fitted to what the blocks that it replaces give: least squares.

A block's output, before a ReLU that may come last, is linear in the weights of its last convolution and shortcut. So
the best of these for some frames are known at once: those of a ridge regression, drawn to the weights that are there.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.models.elastic.blocks import Ending, ending
from nestevo_hw.models.elastic.chain import inputs_of

_RIDGE = 1e-3
"""Of the mean square of a column: far below what the frames say, far above rounding."""
_CHUNK = 8
"""Frames whose columns are in memory at a time."""


def before_relu(block: nn.Module, inputs: Tensor) -> Tensor:
    """(N, C, H, W) what a block gives, before a ReLU that comes last."""
    if not ending(block).rectified:
        out: Tensor = block(inputs)
        return out
    seen: list[Tensor] = []
    with block.relu.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone())):  # type: ignore[union-attr]
        block(inputs)
    return seen[-1]


@torch.no_grad()
def fit(block: nn.Module, inputs: Tensor, wanted: Tensor) -> None:
    """Give a block the last weights with which it comes closest to an output, in place.

    Args:
        block: in eval mode.
        inputs: (N, C, H, W) that it takes.
        wanted: (N, K, h, w) its output, before a ReLU that may come last.
    """
    last = ending(block)
    known = _folded(last)
    gram = torch.zeros(len(known) + 1, len(known) + 1, dtype=torch.float64)
    missing = torch.zeros(len(known) + 1, known.shape[1], dtype=torch.float64)
    count = 0
    for x, target in zip(inputs.split(_CHUNK), wanted.split(_CHUNK), strict=True):
        columns = _columns(block, last, x).double()
        rest = (target - x if last.identity else target).transpose(0, 1).flatten(1).t().double()
        rest -= columns[:, :-1] @ known
        gram += columns.t() @ columns
        missing += columns.t() @ rest
        count += len(columns)
    gram, missing = gram / count, missing / count
    ridge = torch.full((len(known) + 1,), _RIDGE * float(gram.diagonal()[:-1].mean()), dtype=torch.float64)
    ridge[-1] = 0.0
    change = torch.linalg.solve(gram + torch.diag(ridge + 1e-12), missing)
    _write(block, last, known + change[:-1], change[-1], inputs)


def _columns(block: nn.Module, last: Ending, inputs: Tensor) -> Tensor:
    """(P, D + 1) of each pixel of the output: what the last convolution sees, what the shortcut does, and 1."""
    name = next(name for name, module in block.named_modules() if module is last.conv)
    (hidden,) = inputs_of(block, (name,), inputs)
    conv = last.conv
    patches = F.unfold(hidden, conv.kernel_size, padding=conv.padding, stride=conv.stride)  # type: ignore[arg-type]
    parts = [patches.transpose(0, 1).flatten(1)]
    if last.shortcut is not None:
        step = last.shortcut[0].stride[0]
        parts.append(inputs[:, :, ::step, ::step].transpose(0, 1).flatten(1))
    parts.append(torch.ones(1, parts[0].shape[1]))
    return torch.cat(parts).t()


def _folded(last: Ending) -> Tensor:
    """(D, K) weights of the columns without 1 as they are now, with the scale of BatchNorm."""
    layers = [(last.conv, last.norm), *([last.shortcut] if last.shortcut is not None else [])]
    parts = []
    for conv, norm in layers:
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        parts.append((conv.weight * scale[:, None, None, None]).flatten(1).t().double())
    return torch.cat(parts)


@dataclass(frozen=True, slots=True)
class _Moments:
    mean: Tensor
    var: Tensor


def _write(block: nn.Module, last: Ending, weights: Tensor, bias: Tensor, inputs: Tensor) -> None:
    """Store weights and bias so that BatchNorm, with its statistics on these inputs, undoes itself."""
    size = last.conv.weight[0].numel()
    shares = [(last.conv, last.norm, weights[:size])]
    if last.shortcut is not None:
        shares.append((*last.shortcut, weights[size:]))
    for conv, _, share in shares:
        conv.weight.copy_(share.t().reshape(conv.weight.shape))
    found = [_moments(block, conv, inputs) for conv, *_ in shares]
    for (_, norm, _), moments in zip(shares, found, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(moments.mean)
        norm.running_var.copy_(moments.var)
        norm.weight.copy_((moments.var + norm.eps).sqrt())
        norm.bias.copy_(moments.mean)
    last.norm.bias.add_(bias)


def _moments(block: nn.Module, conv: nn.Conv2d, inputs: Tensor) -> _Moments:
    name = next(name for name, module in block.named_modules() if module is conv)
    taken = [inputs_of(block, (name,), x)[0] for x in inputs.split(_CHUNK)]
    values = torch.cat([conv(x).transpose(0, 1).flatten(1) for x in taken], 1).double()
    return _Moments(values.mean(1), values.var(1))
