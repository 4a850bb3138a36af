"""Memory that a model takes of a GPU where nothing is learned, before any task of the sort has run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nestevo_hw.profiler.allocator import MIB, segment_bytes
from nestevo_hw.profiler.memory import AllocationMeter
from nestevo_hw.profiler.target import TargetDevice

MODELS_AT_ONCE = 4
"""Room for a teacher, its cells with what converters need of them, and another model."""
WORKSPACE_BYTES = 256 * MIB
"""Room for workspaces of convolutions and what the allocator cannot use."""
MARGIN = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceMemory:
    """What the largest of some models takes."""

    model_bytes: int
    """Parameters and buffers."""
    frame_bytes: int
    """Most bytes alive at a time for each frame of a batch, the frame itself among them."""

    def on(self, device: TargetDevice, frames: float) -> int:
        """A first guess of all that a process takes of a GPU.

        Args:
            device: the GPU.
            frames: of a batch; more for what takes more memory a frame.
        """
        tensors = MODELS_AT_ONCE * self.model_bytes + round(MARGIN * frames * self.frame_bytes)
        return device.context_bytes + 2 * device.blas_bytes + segment_bytes(tensors) + WORKSPACE_BYTES


def inference_memory(
    models: Sequence[nn.Module], predict: Callable[[nn.Module, Tensor], object], size: tuple[int, int]
) -> InferenceMemory:
    """Measure models by one grey frame each, here and now: no shape is guessed, whatever a model does with values.

    Args:
        models: on the CPU, in eval mode.
        predict: from a model and (N, 3, H, W) uint8 frames to anything.
        size: (H, W) of the frames, pixels.
    """
    peaks, sizes = [], []
    for model in models:
        meter = AllocationMeter()
        with meter:
            predict(model, torch.full((1, 3, *size), 128, dtype=torch.uint8))
        peaks.append(meter.peak_bytes)
        sizes.append(sum(t.nbytes for t in (*model.parameters(), *model.buffers())))
    return InferenceMemory(model_bytes=max(sizes), frame_bytes=max(peaks))
