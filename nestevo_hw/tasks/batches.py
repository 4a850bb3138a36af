"""How many frames go through a model together where nothing is learned."""

from collections.abc import Sequence

import torch

MORE_ON_A_GPU = 4
"""Times as many small frames on a GPU, which a launch of each kernel would keep waiting."""
PIXELS = 1 << 21
"""Of a batch at most: large frames keep a GPU busy in few, and take its memory."""


def frames_at_once(usual: int, size: Sequence[int], device: torch.device) -> int:
    """Frames of a batch. What a model says of a frame does not depend on the others.

    Args:
        usual: on a CPU, so that a batch stays in its cache.
        size: (H, W) of the frames, pixels.
        device: of the model.
    """
    if device.type == "cpu":
        return usual
    return max(1, min(MORE_ON_A_GPU * usual, PIXELS // (size[0] * size[1])))


def frames_of_statistics(usual: int, size: Sequence[int]) -> int:
    """Frames of a batch that BatchNorm statistics are taken from: the same on every device, as they depend on it."""
    return max(1, min(usual, 2 * PIXELS // (size[0] * size[1])))
