"""What losses of several tasks have in common."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100
"""Class index that F.cross_entropy leaves out."""


def widened(values: Tensor) -> Tensor:
    """The same, in float32 where autocast has left bfloat16."""
    return values.float() if values.dtype == torch.bfloat16 else values


def kl_divergence(student: Tensor, peer: Tensor, temperature: float = 1.0, rows: Tensor | None = None) -> Tensor:
    """KL(peer || student) of class probabilities, averaged over rows, times temperature squared.

    Args:
        student: (R, C) logits that receive the gradient.
        peer: (R, C) logits; detached.
        temperature: softens both distributions.
        rows: (R,) bool, which of them count; None = all.
    """
    if not len(student):
        return student.sum()
    soft = F.log_softmax(widened(student) / temperature, -1)
    target = F.log_softmax(widened(peer.detach()) / temperature, -1)
    if rows is None:
        return F.kl_div(soft, target, log_target=True, reduction="batchmean") * temperature**2
    apart = F.kl_div(soft, target, log_target=True, reduction="none").sum(-1)
    return (apart * rows).sum() / rows.sum().clamp(min=1) * temperature**2


def entropy(probabilities: Tensor) -> Tensor:
    """(..., C) probabilities to (...) entropies, nats."""
    return -(probabilities * probabilities.clamp(min=1e-6).log()).sum(-1)


def classifier_loss(models: Sequence[nn.Module], images: Tensor, *, taught: bool = False) -> Tensor:
    """Summed cross-entropy of classifiers to the first class; two also learn from one another.

    No shape in it depends on values, so it runs on fake tensors, too.

    Args:
        models: one or two classifiers in training mode.
        images: (N, 3, H, W) float, fake or real.
        taught: whether one model also learns a teacher's class probabilities.
    """
    logits = [model(images) for model in models]
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    loss = torch.stack([F.cross_entropy(own, labels) for own in logits]).sum()
    peers = reversed(logits) if len(models) > 1 else [torch.zeros_like(own) for own in logits if taught]
    for own, peer in zip(logits, peers, strict=False):
        target = F.log_softmax(peer.detach(), -1)
        loss = loss + F.kl_div(F.log_softmax(own, -1), target, log_target=True, reduction="batchmean")
    return loss
