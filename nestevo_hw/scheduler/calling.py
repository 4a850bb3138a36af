"""Calling a task's function by name, with JSON in and JSON out; light enough for a fork server to import."""

import importlib
import json
import traceback
from typing import Any

from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.base.plugins import place_outside

PACKAGE = __name__.partition(".")[0]
_SAID_OF_MEMORY = ("DefaultCPUAllocator: ", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
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


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own error, torch's for devices, or what its CPU allocator, CUDA and libraries on it say of theirs."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in _SAID_OF_MEMORY)
    )
