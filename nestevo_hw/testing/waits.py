"""Where the host would wait for a GPU: found as code runs on tensors that say they are on one, and refused on one.

While the host waits it queues nothing, so a small model's GPU idles. What waits is any value that the host asks for,
any shape that depends on values, and any copy from or to memory that is not pinned.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_VALUES = {
    "_linalg_check_errors", "_local_scalar_dense", "_unique2", "bincount", "equal", "histc", "is_nonzero",
    "masked_select", "multinomial", "nms", "nonzero", "unique_consecutive", "unique_dim",
}  # fmt: skip
"""Operations that ask for values, most of them for the size of what they return."""
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_IN_ITS_GRADIENT = {"prod", "cumprod"}
"""Functions whose gradient depends on how many zeros there were."""
_MADE_OF_VALUES = {"tensor", "as_tensor", "new_tensor"}
_FOREIGN = tuple(str(Path(module.__file__ or "?").parent) for module in (torch, torchvision))


@dataclass(frozen=True, slots=True)
class Wait:
    """One place at which the host waits."""

    operation: str
    """Torch's name of it."""
    why: str
    where: str
    """FILE:LINE of the caller nearest to torch."""

    def __str__(self) -> str:
        return f"{self.where}: {self.operation} {self.why}"


@contextmanager
def waits_found() -> Iterator[list[Wait]]:
    """Every wait for a GPU of what runs within the block, as it happens; on the CPU nothing waits."""
    found: list[Wait] = []
    with _Copies(found), _Values(found):
        yield found


@contextmanager
def waits_refused() -> Iterator[None]:
    """Torch raises at most of what makes the host wait for a GPU; as before when the block is left, however it is."""
    before = torch.cuda.get_sync_debug_mode()
    try:
        _set_debug_mode("error")
        yield
    finally:
        _set_debug_mode(before)


def _set_debug_mode(mode: int | str) -> None:
    """Torch warns of its prototype after it has set the mode, which is an error where warnings are errors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode(mode)


def asked_for_values(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> str | None:
    """Why an operation of ATen makes the host wait for its tensors, if it does.

    Args:
        name: without namespace and overload.
        args: as the operation has them.
        kwargs: as the operation has them.
    """
    if name in _VALUES:
        return "asks for values"
    if name == "repeat_interleave":
        return None if kwargs.get("output_size") is not None else "needs its output_size"
    if name in _INDEXING:
        indices = [index for index in args[1] if isinstance(index, Tensor)]
        masked = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        filled = name != "index" and args[2].numel() == 1  # which needs no places
        return "asks how many a mask has" if masked and not filled else None
    return None


class _Values(TorchDispatchMode):
    """Operations as they reach a device."""

    def __init__(self, found: list[Wait]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs, name = dict(kwargs or {}), func._schema.name.partition("::")[2]
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if any(_on_a_gpu(t) for t in tensors):
            why = asked_for_values(name, args, kwargs)
            if why is None and name in _INDEXING and any(not _on_a_gpu(i) for i in args[1] if isinstance(i, Tensor)):
                why = "copies an index from the host"
            if why is None and name == "copy_" and not _stays(args[0], args[1]) and not _goes_on(args[2:], kwargs):
                why = "copies between host and GPU"
            if why is not None:
                self._found.append(Wait(name, why, _caller()))
        return func(*args, **kwargs)


class _Copies(TorchFunctionMode):
    """Copies between devices as they are asked for."""

    def __init__(self, found: list[Wait]) -> None:
        super().__init__()
        self._found = found
        self._pinned: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        if name == "pin_memory":
            self._pinned.append(result)
        elif name in _IN_ITS_GRADIENT and _on_a_gpu(result) and result.requires_grad:
            self._found.append(Wait(name, "counts zeros for its gradient", _caller()))
        elif name in ("tolist", "numpy") and _on_a_gpu(args[0]):
            self._found.append(Wait(name, "asks for values", _caller()))
        elif name in _MADE_OF_VALUES and isinstance(result, Tensor) and _on_a_gpu(result):
            if not any(isinstance(t, Tensor) and _on_a_gpu(t) for t in args[name == "new_tensor" :]):
                self._found.append(Wait(name, "copies values of the host", _caller()))
        elif name in ("to", "cuda", "cpu") and isinstance(result, Tensor) and not _stays(result, args[0]):
            why = self._copied(args[0], args[1:], kwargs)
            if why is not None:
                self._found.append(Wait(name, why, _caller()))
        return result

    def _copied(self, source: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> str | None:
        if not _goes_on(args, kwargs):
            return "copies between host and GPU"
        if _on_a_gpu(source) or source.is_pinned() or any(source is pinned for pinned in self._pinned):
            return None
        return "copies from memory that is not pinned"


def _on_a_gpu(tensor: Any) -> bool:  # noqa: ANN401
    return isinstance(tensor, Tensor) and tensor.device.type not in ("cpu", "meta")


def _stays(one: Tensor, other: Tensor) -> bool:
    return _on_a_gpu(one) == _on_a_gpu(other)


def _goes_on(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a copy is not waited for."""
    return bool(kwargs.get("non_blocking", any(arg is True for arg in args)))


def _caller() -> str:
    """The innermost frame that is neither torch's nor one that watches or stands in for it."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        if file != __file__ and not file.startswith(_FOREIGN) and not function.startswith("__torch_"):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
