"""BatchNorm statistics of a scene in place of those of the training data."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norm_bytes(model: nn.Module) -> int:
    """Size of a model's BatchNorm statistics, mean and variance of each channel."""
    return sum(b.nbytes for norm in _norms(model) for b in norm.buffers() if b.is_floating_point())


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model has BatchNorm layers that keep statistics."""
    return bool(_norms(model))


@torch.no_grad()
def re_estimate_batch_norm(model: nn.Module, dense: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the BatchNorm statistics of `model` by those of the given inputs, in place.

    Args:
        model: its BatchNorm layers are updated; stays in eval mode.
        dense: the part of the model to run, such as the body of a detector's backbone.
        batches: (N, 3, H, W) normalised inputs of `dense`, on any device.
    """
    device = next(model.parameters()).device
    with fresh_statistics(model):
        for batch in batches:
            dense(batch.to(device))


@contextmanager
def fresh_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm layers in eval mode get the statistics of all that passes through them in the block.

    These are means over the inputs, so that a smaller last batch counts for as much as it holds; the variance is that
    within the batches. A layer through which nothing passes keeps what it has.
    """
    norms = _norms(model)
    momenta = [m.momentum for m in norms]
    hooks = [norm.register_forward_pre_hook(_CumulativeMean()) for norm in norms]
    for norm in norms:
        norm.train()
    try:
        yield
    finally:
        for norm, momentum, hook in zip(norms, momenta, hooks, strict=True):
            hook.remove()
            norm.momentum = momentum
            norm.eval()


class _CumulativeMean:
    """Before each batch of a BatchNorm layer: the momentum that makes its statistics a mean over all inputs so far."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        if not self.seen:
            norm.reset_running_stats()
        self.seen += len(inputs[0])
        norm.momentum = len(inputs[0]) / self.seen


@contextmanager
def kept_batch_norm(model: nn.Module) -> Iterator[None]:
    """Give a model its BatchNorm statistics back at the end of the block, whatever happens to them within."""
    norms = _norms(model)
    kept = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm.load_state_dict(buffers, strict=False)


def norms(model: nn.Module) -> list[tuple[str, _BatchNorm]]:
    """BatchNorm layers of a model by name."""
    return [(name, m) for name, m in model.named_modules() if isinstance(m, _BatchNorm)]


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [norm for _, norm in norms(model) if norm.track_running_stats]
