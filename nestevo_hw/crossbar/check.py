"""A start-up check of the crossbar simulator."""

import torch
from torch import nn

from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.crossbar.tiles import LayerTiles


def program_one_tile() -> float:
    """Program one 32 x 32 PCM tile for real and let it drift for an hour.

    Returns:
        RMS weight error relative to the RMS of the target, about 0.1; an incompatible pair of torch and
        aihwkit raises instead.
    """
    layer = nn.Linear(32, 32, bias=False, device="cpu")
    with torch.no_grad():
        layer.weight.copy_(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))
    tiles = LayerTiles("check", layer, find_preset("pcm", perfect_io=True), (32, 32), seed=0)
    tiles.program(0)
    tiles.age(3600.0)
    error = tiles.weight_error()
    assert error is not None
    return error
