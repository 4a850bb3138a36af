"""What a process takes of this machine's GPU before its first tensor, measured once and kept in a file."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

from nestevo_hw.base.documents import plain, read_json, write_json
from nestevo_hw.base.errors import TaskError
from nestevo_hw.base.ranges import Range
from nestevo_hw.profiler.target import CPU, TargetDevice, architecture

MEASURE = "nestevo-hw doctor --measure-gpu"
"""The command that measures."""
MOST_BYTES = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuOverhead:
    """Measured on one GPU with one version of PyTorch."""

    gpu: str
    torch: str
    context_bytes: Annotated[int, Range(0, MOST_BYTES)]
    """Driver context and loaded kernels after a training step, outside PyTorch's allocator."""
    blas_bytes: Annotated[int, Range(0, MOST_BYTES)]
    """Workspace of one handle of cuBLAS."""


def overheads_file() -> Path:
    """Where measurements of this machine's GPUs are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nestevo-hw" / "gpus.json"


def target_of(device: torch.device) -> TargetDevice:
    """What is known of a device of this machine: measured here, else published of its architecture."""
    if device.type != "cuda":
        return CPU
    if (found := known_overhead(device)) is not None:
        return TargetDevice(
            kind="cuda", context_bytes=found.context_bytes, blas_bytes=found.blas_bytes, source="measured here"
        )
    return architecture(torch.cuda.get_device_capability(device))


def memory_of(device: torch.device) -> int:
    """Bytes of memory of a GPU of this machine, whoever uses them."""
    return torch.cuda.get_device_properties(device).total_memory


def known_overhead(device: torch.device) -> GpuOverhead | None:
    """The measurement of a GPU with this version of PyTorch, if there is one.

    Raises:
        InputError: the file is damaged.
    """
    name = torch.cuda.get_device_name(device)
    return next((one for one in _kept() if (one.gpu, one.torch) == (name, torch.__version__)), None)


def measure_overhead(device: torch.device) -> GpuOverhead:
    """Measure a GPU, and keep the result.

    A child process trains a little and tells what its allocator holds; what is free beside it tells the rest. Others
    must leave the GPU's memory as it is meanwhile, about ten seconds.

    Raises:
        TaskError: the child failed, or others changed what they take.
    """
    found = beside(["-m", __name__, str(device)], device)
    measured = GpuOverhead(
        gpu=torch.cuda.get_device_name(device),
        torch=torch.__version__,
        context_bytes=found["context_bytes"],
        blas_bytes=found["blas_bytes"],
    )
    others = [one for one in _kept() if (one.gpu, one.torch) != (measured.gpu, measured.torch)]
    overheads_file().parent.mkdir(parents=True, exist_ok=True)
    write_json(overheads_file(), plain([*others, measured]))
    return measured


def beside(arguments: Sequence[str], device: torch.device) -> dict[str, Any]:
    """Run Python in a child process that trains on a GPU, and see what it takes of it.

    Args:
        arguments: of the interpreter. The child prints one line, a JSON object with "reserved_bytes" as its allocator
            counts, and keeps what it has until its standard input ends.
        device: the GPU.

    Returns:
        The object, and "context_bytes": what the GPU had free before, less what is free beside the child, less what its
        allocator has reserved.

    Raises:
        TaskError: the child failed, or others freed memory meanwhile.
    """
    name = torch.cuda.get_device_name(device)
    torch.ones(1, device=device)  # this process has its context, before the child's counts
    before, _ = torch.cuda.mem_get_info(device)
    child = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None  # for the type checker: both are pipes
    assert child.stdout is not None
    with child:
        told = child.stdout.readline()
        after, _ = torch.cuda.mem_get_info(device)
        child.stdin.close()
    if child.returncode or not told:
        raise TaskError(f"{name}: the training failed (exit status {child.returncode}); see the lines above")
    found: dict[str, Any] = json.loads(told)
    context_bytes = before - after - found["reserved_bytes"]
    if context_bytes <= 0:
        raise TaskError(f"{name}: others freed memory meanwhile; measure again while nothing else uses the GPU")
    return found | {"context_bytes": context_bytes}


def _kept() -> list[GpuOverhead]:
    file = overheads_file()
    return read_json(file, list[GpuOverhead], advice=f"delete it and run {MEASURE}") if file.exists() else []


def _train_a_little(device: torch.device) -> dict[str, int]:
    """Two training steps that load the usual kernels; what the allocator then holds."""
    matrix = torch.ones(64, 64, device=device)
    product = torch.empty_like(matrix)
    before = torch.cuda.memory_allocated(device)
    torch.mm(matrix, matrix, out=product)
    blas_bytes = torch.cuda.memory_allocated(device) - before
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4),
    ).to(device)  # fmt: skip
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(2):
        optimiser.zero_grad()
        scores = model(torch.rand(8, 3, 64, 64, device=device))
        nn.functional.cross_entropy(scores, torch.zeros(8, dtype=torch.long, device=device)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    torch.cuda.synchronize(device)
    return {"reserved_bytes": torch.cuda.memory_reserved(device), "blas_bytes": blas_bytes}


if __name__ == "__main__":
    print(json.dumps(_train_a_little(torch.device(sys.argv[1]))), flush=True)  # the parent reads it
    sys.stdin.read()  # the context stays until the parent has looked
