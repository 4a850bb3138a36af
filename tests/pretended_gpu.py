"""A GPU that is not there: tensors that say they are on one, hold real values, and refuse what a GPU would refuse.

Every operation computes on the CPU, so results can be compared to the last bit. Tensors of both devices in one
operation raise as they do in torch with a GPU: but for copies, numbers (tensors without dimensions) and indices.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from nestevo_hw.crossbar import placement

GPU = torch.device("cuda", 0)
_BY_HAND: dict[str, Callable[..., Any]] = {
    "pin_memory": lambda tensor: tensor.clone(),
    "tolist": lambda tensor: _real(tensor).detach().tolist(),
    "one_hot": lambda labels, *classes: _like(labels, F.one_hot(_real(labels), *classes)),
}
_ACROSS = {"aten::copy_", "aten::_to_copy"}
"""Operations that take tensors of two devices."""
_INDEXED = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}
"""Operations whose indices may lie on the CPU."""
_WITHOUT_NUMBERS = {
    f"aten::{name}"
    for name in ("cat", "stack", "gather", "index_select", "index_add", "index_add_", "index_copy", "index_copy_",
                 "scatter", "scatter_", "scatter_add", "scatter_add_")
}  # fmt: skip
"""Operations that take no number of the CPU either."""


class Pretended(Tensor):
    """A tensor on the GPU that is not there."""

    held: Tensor

    @staticmethod
    def __new__(cls, real: Tensor, *, requires_grad: bool = False) -> "Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls, real.size(), strides=real.stride(), storage_offset=real.storage_offset(), dtype=real.dtype,
            device=real.device, requires_grad=requires_grad,
        )  # fmt: skip
        made.held = real
        return made

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def __repr__(self, **_: object) -> str:
        return f"Pretended({self.held!r})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), func._schema.name
        _check(name, args, kwargs)
        home = torch.device(kwargs["device"]) if kwargs.get("device") is not None else GPU
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        known = {id(t.held): t for t in _tensors((args, kwargs)) if isinstance(t, Pretended)}
        found = func(*tree_map(_real, tuple(args)), **tree_map(_real, kwargs))

        def back(value: Any) -> Any:
            if not isinstance(value, Tensor) or isinstance(value, Pretended):
                return value
            if id(value) in known:
                return known[id(value)]
            first = args[0] if args else None
            if value is first:  # in place, on the CPU
                return value
            return Pretended(value) if home.type == "cuda" else value

        return tree_map(back, found)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def _like(one: Tensor, real: Tensor) -> Tensor:
    return Pretended(real) if isinstance(one, Pretended) else real


def _real(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _check(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    if name in _ACROSS:
        return
    checked = [args[0], *args[2:]] if name in _INDEXED else [args, kwargs]
    tensors = list(_tensors(checked))
    numbers = name not in _WITHOUT_NUMBERS
    apart = [
        t for k, t in enumerate(tensors)
        if not isinstance(t, Pretended) and not _made_by_autograd(t)
        and (t.ndim > 0 or not numbers or (name.endswith("_") and k == 0))  # what changes in place is no mere number
    ]  # fmt: skip
    if apart and any(isinstance(t, Pretended) for t in tensors):
        raise RuntimeError(
            f"{name}: expected all tensors to be on the same device, but one of shape {tuple(apart[0].shape)} is on "
            "the CPU and others on the GPU"
        )


def _check_generator(kwargs: Mapping[str, Any], args: Sequence[Any]) -> None:
    generator = kwargs.get("generator")
    if not isinstance(generator, _Generator):
        return
    near = next(_tensors(list(args)), None)
    home = kwargs.get("device") if kwargs.get("device") is not None else "cpu" if near is None else near.device
    if (wanted := torch.device(home).type) != generator.device.type:
        raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{generator.device.type}'")


def _made_by_autograd(tensor: Tensor) -> bool:
    """Whether they are zeros that it made in a backward pass where it believes a pretended tensor to be: the CPU."""
    return torch._C._current_autograd_node() is not None and not bool(tensor.any())


class _Calls(TorchFunctionMode):
    """Makes and moves tensors as if the GPU were there."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name in ("to", "cuda", "cpu") and args and isinstance(args[0], Tensor):
            return _moved(name, *args, **kwargs)
        if name in _BY_HAND:
            return _BY_HAND[name](*args, **kwargs)
        _check_generator(kwargs, args)
        if name == "as_tensor" and isinstance(args[0], Tensor):
            return _moved("to", *args, **kwargs)
        if kwargs.get("device") is not None and any(isinstance(t, Pretended) for t in args[:1]):
            kwargs.pop("device")  # its kin is made where it is
        if kwargs.get("device") is None or torch.device(kwargs["device"]).type != "cuda":
            return func(*args, **kwargs)
        kwargs["device"], grad = torch.device("cpu"), kwargs.pop("requires_grad", False)
        return Pretended(func(*args, **kwargs)).requires_grad_(grad)


def _moved(name: str, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`, `cuda` and `cpu`, with the gradient."""
    target = GPU if name == "cuda" else torch.device("cpu") if name == "cpu" else kwargs.pop("device", None)
    dtype = kwargs.pop("dtype", None)
    for arg in args:
        if isinstance(arg, Tensor):
            target, dtype = arg.device, arg.dtype
        elif isinstance(arg, torch.dtype):
            dtype = arg
        elif isinstance(arg, str | torch.device):
            target = torch.device(arg)
    moved = value if dtype is None or dtype == value.dtype else value.type(dtype)
    if target is None or torch.device(target).type == moved.device.type:
        return moved.clone() if kwargs.get("copy") else moved
    return _Move.apply(moved, torch.device(target).type == "cuda")  # type: ignore[no-any-return]


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, there: bool) -> Tensor:
        ctx.back = isinstance(value, Pretended)
        real = _real(value.detach()).clone()
        return Pretended(real) if there else real

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        real = _real(gradients[0])
        return (Pretended(real) if ctx.back else real), None


class _Generator(torch.Generator):
    """Of any device, with the numbers of the CPU."""

    def __new__(cls, device: object = "cpu") -> "_Generator":
        made = super().__new__(cls, "cpu")
        made._of = torch.device(device)  # type: ignore[attr-defined, call-overload]
        return made

    @property
    def device(self) -> torch.device:
        return self._of  # type: ignore[attr-defined, no-any-return]


class _Event:
    """Nothing is ever under way."""

    def record(self, _stream: object) -> None:
        pass

    def synchronize(self) -> None:
        pass


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """A machine with one GPU, for the time of a block."""
    with pytest.MonkeyPatch.context() as patch, _Calls():
        patch.setattr(torch, "Generator", _Generator)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "get_device_name", lambda _device=None: "pretended GPU")
        patch.setattr(torch.cuda, "get_device_properties", lambda _device=None: SimpleNamespace(total_memory=80 << 30))
        patch.setattr(torch.cuda, "get_device_capability", lambda _device=None: (8, 0))
        patch.setattr(torch.cuda, "Event", _Event)
        for counted in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"):
            patch.setattr(torch.cuda, counted, lambda _device=None: 0)
        patch.setattr(torch.cuda, "get_rng_state", lambda _device=None: torch.get_rng_state())
        for told in ("synchronize", "empty_cache", "reset_peak_memory_stats", "set_rng_state"):
            patch.setattr(torch.cuda, told, lambda *_: None)
        patch.setattr(torch.cuda, "current_stream", lambda _device=None: None)
        groups = torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype
        patch.setattr(
            torch.nn.utils.clip_grad, "_group_tensors_by_device_and_dtype",
            lambda lists: {(lists[0][0].device, kind): group for (_, kind), group in groups(lists).items()},
        )  # fmt: skip
        for check in [name for name in dir(torch.optim.Optimizer) if name.endswith("_graph_capture_health_check")]:
            patch.setattr(torch.optim.Optimizer, check, lambda _self: None)
        decompose = torch._ops.OpOverload.decompose
        patch.setattr(
            torch._ops.OpOverload, "decompose",
            lambda operation, *args, **kwargs: NotImplemented if any(isinstance(t, Pretended) for t in _tensors(args))
            else decompose(operation, *args, **kwargs),
        )  # fmt: skip
        real_unfit = placement._unfit
        patch.setattr(placement, "_unfit", lambda weight: real_unfit(_real(weight.detach())))
        overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            yield GPU
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
