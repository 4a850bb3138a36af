"""A worker's GPU: which one it sees, how much of its memory a task may take, what it took, and that it gave it back."""

import gc
import os
import sys
from contextlib import suppress

LEFT_BYTES = 64 << 20
"""What a worker may keep between tasks beyond what it had before its first one: workspaces of libraries."""


def see_gpu(number: int | None) -> None:
    """Show this process, which has not used CUDA yet, one GPU only.

    Args:
        number: of the GPU, among those that this process would see; None for no GPU at all.
    """
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if number is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif before is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = [*before.split(","), *[""] * (number + 1)][number].strip()


def wake_gpu() -> int:
    """Make this process's context on its GPU and load what most tasks need.

    Returns:
        bytes of tensors that are there before the first task.
    """
    import torch

    with suppress(RuntimeError):  # the first task meets it too, and tells
        if torch.cuda.is_available():
            image = torch.zeros(1, 1, 8, 8, device="cuda")
            torch.nn.functional.conv2d(image, image)  # cuDNN
            torch.mm(image[0, 0], image[0, 0])  # cuBLAS
            del image
            torch.cuda.synchronize()
            return _allocated()
    return 0


def limit_gpu_memory(most_bytes: int) -> None:
    """Keep this process's allocator from reserving more of its first GPU; the context comes on top."""
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(most_bytes / total, 1.0), 0)


def most_gpu_reserved() -> int:
    """Most bytes that this process's allocator has reserved of its first GPU; 0 if it has not used one."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_reserved(0) if torch is not None and torch.cuda.is_initialized() else 0


def gave_back(before_bytes: int) -> bool:
    """Give all memory of this process's GPU back that no tensor needs, and start its peak anew.

    Args:
        before_bytes: what `wake_gpu` returned.

    Returns:
        Whether the process is as good as new: the GPU still answers, and no tensor of the last task is left on it.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
        left_bytes = _allocated()
        torch.cuda.reset_peak_memory_stats(0)
    except RuntimeError:  # what went wrong on a GPU stays so for its process
        return False
    return left_bytes <= before_bytes + LEFT_BYTES


def _allocated() -> int:
    """Bytes of tensors on the GPU, after cuBLAS has let go of its workspaces."""
    import torch

    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is not None:
        clear()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(0)
