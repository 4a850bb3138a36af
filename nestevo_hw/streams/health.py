"""Whether frames can come from a working camera."""

import torch
from torch import Tensor

MIN_DEVIATION = 1.0
"""Standard deviation of pixels, of 255, below which a frame shows nothing."""
MIN_CORRELATION = 0.2
"""Correlation of neighbouring pixels below which frames are noise; of scenes, foggy and dark ones included, it is
above 0.7."""


def fault_of(images: Tensor) -> str | None:
    """What is wrong with (N, 3, H, W) uint8 frames of one camera; None where nothing is.

    Args:
        images: in order of time.
    """
    if not len(images):
        return "sent no frames"
    if len(images) > 1 and bool((images == images[0]).all()):
        return "sent the same frame again and again"
    grey = images.float().mean(1)
    deviation = grey.flatten(1).std(1)
    if float(deviation.median()) < MIN_DEVIATION:
        return "sent frames of one colour"
    if float(_neighbours(grey).median()) < MIN_CORRELATION:
        return "sent noise"
    return None


def _neighbours(grey: Tensor) -> Tensor:
    """(N,) correlation of horizontally neighbouring pixels of (N, H, W) frames."""
    left, right = grey[:, :, :-1].flatten(1), grey[:, :, 1:].flatten(1)
    left, right = left - left.mean(1, keepdim=True), right - right.mean(1, keepdim=True)
    return (left * right).sum(1) / torch.sqrt((left**2).sum(1) * (right**2).sum(1)).clamp(min=1e-9)
