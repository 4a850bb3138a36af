"""Input ranges of the converters from in-domain frames."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import MappingError

CLIPPED_SHARE = 1e-4
"""Share of the inputs beyond the range: their clipping costs less than the finer steps gain."""
SAMPLES_PER_CALL = 1 << 15


class _Magnitudes:
    """A bounded sample of a layer's input magnitudes."""

    def __init__(self) -> None:
        self._samples: list[Tensor] = []

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        flat = inputs[0].detach().flatten().abs()
        if flat.numel():
            # A prime stride does not fall into step with the rows of a feature map.
            stride = max(1, flat.numel() // SAMPLES_PER_CALL) | 1
            self._samples.append(flat[::stride])

    def full_scale(self) -> float:
        """Magnitude that all but `CLIPPED_SHARE` of the inputs stay below; 0 if no input came."""
        if not self._samples:
            return 0.0
        values = torch.cat(self._samples)
        rank = max(1, round(values.numel() * (1.0 - CLIPPED_SHARE)))
        return float(values.kthvalue(rank).values)


def observe_inputs(model: nn.Module, layers: dict[str, nn.Module], batches: Iterable[Any]) -> dict[str, float]:
    """Full scale of the inputs of each layer.

    Args:
        model: digital model in eval mode.
        layers: layers of `model` to watch, by name.
        batches: each is given to `model` as its only argument.

    Returns:
        Full scale by name; a layer that saw no input but zeros is left out.

    Raises:
        MappingError: there was no batch.
    """
    magnitudes = {name: _Magnitudes() for name in layers}
    handles = [layer.register_forward_pre_hook(magnitudes[name]) for name, layer in layers.items()]
    count = 0
    try:
        with torch.no_grad():
            for batch in batches:
                model(batch)
                count += 1
    finally:
        for handle in handles:
            handle.remove()
    if count == 0:
        raise MappingError("calibration got no batch; give it a few in-domain frames")
    scales = {name: observed.full_scale() for name, observed in magnitudes.items()}
    return {name: scale for name, scale in scales.items() if scale > 0.0}
