"""The device that a training will run on, and all the memory that it takes there."""

from dataclasses import dataclass
from typing import Literal

from nestevo_hw.profiler.allocator import MIB, segment_bytes

KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDevice:
    """What a process takes of a device's memory besides its tensors."""

    kind: Literal["cpu", "cuda"]
    context_bytes: int = 0
    """Taken outside PyTorch's allocator: the driver's context and the kernels that have been loaded, on a GPU."""
    blas_bytes: int = 0
    """Workspace of one handle of cuBLAS, of which a training has two: one of its forward pass, one of its backward
    pass, which runs in another thread."""
    source: str = ""
    """Where the context's size is known from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """All that a training process takes of a GPU, by its parts."""

    tensor_bytes: int
    """Most bytes of tensors alive at a time, convolutions' workspaces among them, in the allocator's blocks."""
    blas_bytes: int
    """Workspaces that cuBLAS keeps."""
    unused_bytes: int
    """Reserved beyond these: rests of segments, and gaps that nothing fits into."""
    context_bytes: int
    """Driver context and loaded kernels."""

    @property
    def reserved_bytes(self) -> int:
        """What PyTorch's allocator takes from the driver, as `torch.cuda.max_memory_reserved` counts."""
        return self.tensor_bytes + self.blas_bytes + self.unused_bytes

    @property
    def total_bytes(self) -> int:
        """What the GPU counts."""
        return self.reserved_bytes + self.context_bytes


PUBLISHED = "measured on an H200, torch 2.11, CUDA 13"
CPU = TargetDevice(kind="cpu")
# cuBLAS keeps :4096:2:16:8 by default, that is 2 x 4096 + 8 x 16 KiB, and 8 x 4096 KiB on compute capability 9.0 only
# (PyTorch's aten/src/ATen/cuda/CublasHandlePool.cpp; NVIDIA's cuBLAS guide).
CUDA = TargetDevice(kind="cuda", context_bytes=800_000_000, blas_bytes=(2 * 4096 + 8 * 16) * KIB, source=PUBLISHED)
CUDA_HOPPER = TargetDevice(kind="cuda", context_bytes=800_000_000, blas_bytes=32 * MIB, source=PUBLISHED)
HOPPER = (9, 0)


def architecture(capability: tuple[int, int]) -> TargetDevice:
    """What is published of GPUs of a compute capability; the context of every one is taken to be the one measured."""
    return CUDA_HOPPER if capability == HOPPER else CUDA


def rounded_up(device: TargetDevice, allocated: int) -> GpuMemory:
    """Memory of a training of which only the peak of its tensors is known: whole segments, and nothing unused.

    That is too little where memory is in pieces.
    """
    return GpuMemory(
        tensor_bytes=segment_bytes(allocated) if allocated else 0,
        blas_bytes=2 * device.blas_bytes,
        unused_bytes=0,
        context_bytes=device.context_bytes,
    )
