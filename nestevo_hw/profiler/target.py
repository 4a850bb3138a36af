"""The device that a training will run on, and all the memory that it takes there."""

from dataclasses import dataclass
from typing import Literal

import torch

from nestevo_hw.profiler.allocator import MIB, SEGMENT_ROUNDING_BYTES
from nestevo_hw.profiler.fake_run import StepWork


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDevice:
    """What a process takes of a device's memory besides its tensors."""

    kind: Literal["cpu", "cuda"]
    context_bytes: int = 0
    """Taken before the first tensor: driver context and loaded kernels on a GPU. Modelled."""
    workspace_bytes: int = 0
    """Kept by the libraries for themselves once they have run: cuBLAS. Modelled."""


CPU = TargetDevice(kind="cpu")
# cuBLAS keeps :4096:2:16:8 by default, that is 2 x 4096 + 8 x 16 KiB, and 32 MiB from Hopper on (PyTorch's CUDABlas,
# NVIDIA's cuBLAS guide). Contexts differ by driver and device; these are the order of what drivers show.
CUDA = TargetDevice(kind="cuda", context_bytes=450_000_000, workspace_bytes=8320 * 1024)
CUDA_HOPPER = TargetDevice(kind="cuda", context_bytes=800_000_000, workspace_bytes=32 * MIB)
HOPPER_CAPABILITY = 9


def target_of(device: torch.device) -> TargetDevice:
    """What is known of a device of this machine."""
    if device.type != "cuda":
        return CPU
    return CUDA_HOPPER if torch.cuda.get_device_capability(device)[0] >= HOPPER_CAPABILITY else CUDA


def gpu_bytes(device: TargetDevice, *, allocated: int, work: StepWork | None) -> int:
    """Memory of a GPU that a process takes for a training.

    Args:
        device: the GPU.
        allocated: peak of the training's tensors, bytes.
        work: the training's step by a fake run, whose allocations have been replayed; without it, the peak is rounded
            up to whole segments, which is too little where memory is fragmented.
    """
    reserved = -(-allocated // SEGMENT_ROUNDING_BYTES) * SEGMENT_ROUNDING_BYTES if work is None else work.reserved_bytes
    return reserved + device.context_bytes + device.workspace_bytes
