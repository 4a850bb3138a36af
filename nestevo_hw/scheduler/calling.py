"""Calling a task's function by name, with JSON in and JSON out; light enough for a fork server to import."""

import importlib
import json
import os
import sys
import traceback
from typing import Any

from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.base.plugins import place_outside

PACKAGE = __name__.partition(".")[0]
Reply = dict[str, Any]
"""{"value": {...}} of a success, {"error": {"type", "message", "traceback", "out_of_memory"}} of a failure."""


def call(function: str, payload_json: str) -> Reply:
    """Call "package.module:function" with a JSON object.

    The value passes through JSON here, so that it is the same whether it crosses a process border or not.
    """
    try:
        module_name, _, name = function.partition(":")
        value = getattr(importlib.import_module(module_name), name)(json.loads(payload_json))
        if not isinstance(value, dict):
            raise TypeError(f"{function} must return a JSON object, got {type(value).__name__}")
        return {"value": json.loads(json.dumps(value))}
    except Exception as error:
        description = {
            "type": type(error).__name__,
            "message": _message(error, function),
            "traceback": traceback.format_exc(),
            "out_of_memory": _is_out_of_memory(error),
        }
        return {"error": description}


def _message(error: Exception, function: str) -> str:
    """What is told of an error; where a function of this package called code of the user's that failed, also where."""
    place = place_outside(error) if function.startswith(f"{PACKAGE}.") else None
    if place is None or isinstance(error, NestEvoError):
        return str(error)
    return f"{error} (in your code: {place})"


def see_gpu(number: int, most_bytes: int) -> None:
    """Show this process, which has not used CUDA yet, one GPU and no more of its memory than is reserved.

    Args:
        number: of the GPU, among those that this process would see.
        most_bytes: that PyTorch's allocator may reserve; with none, the GPU is not to be seen at all.
    """
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    own = str(number) if before is None else [*before.split(","), *[""] * (number + 1)][number].strip()
    os.environ["CUDA_VISIBLE_DEVICES"] = own if most_bytes > 0 else ""
    if most_bytes > 0:
        limit_gpu_memory(most_bytes)


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


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own error, torch's for devices, or the RuntimeError of torch's CPU allocator."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: " in str(error)
    )
