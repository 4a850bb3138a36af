"""The life of a training process as a GPU's allocator sees it, by a fake run: models, a first step, a second one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from nestevo_hw.base.compute import Precision, computing_in
from nestevo_hw.profiler.allocator import CachingAllocator
from nestevo_hw.profiler.fake_run import CLIP_NORM, Optimiser, training_optimiser
from nestevo_hw.profiler.memory import AllocationMeter
from nestevo_hw.profiler.operations import argument
from nestevo_hw.profiler.target import GpuMemory, TargetDevice

STEPS = 2
"""The first makes the optimiser's state amid what it leaves free; the second finds the room in pieces. A third takes no
more."""
BLAS_KEYS = {"forward": 1, "backward": 2}
"""Workspaces of the two threads that call cuBLAS, among the keys of a life; tensors have negative ones or addresses."""
_CONVOLUTION_KEY = 3
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "addmv", "mv")
_BACKWARD = "convolution_backward"

Event = tuple[int, int]
"""(key, bytes) of an allocation, (key, -bytes) of its release, (one of BLAS_KEYS, 0) of a thread's first product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLife:
    """What a training process asks a GPU's allocator for, in order."""

    events: tuple[Event, ...]

    def memory(self, device: TargetDevice) -> GpuMemory:
        """All that the process takes of a GPU."""
        allocator, blas_bytes = CachingAllocator(), 0
        for key, size in self.events:
            if key in BLAS_KEYS.values():
                allocator.allocate(key, device.blas_bytes)
                blas_bytes += device.blas_bytes
            elif size > 0:
                allocator.allocate(key, size)
            else:
                allocator.free(key)
        return GpuMemory(
            tensor_bytes=allocator.peak_bytes - blas_bytes,
            blas_bytes=blas_bytes,
            unused_bytes=allocator.reserved_bytes - allocator.peak_bytes,
            context_bytes=device.context_bytes,
        )


def gpu_life(
    build: Callable[[], Sequence[nn.Module]],
    loss: Callable[[Sequence[nn.Module]], Tensor],
    *,
    optimiser: Optimiser = "adamw",
    precision: Precision = "float32",
) -> GpuLife:
    """Run two training steps on fake tensors and keep every allocation that a GPU would see.

    Clipping and SGD work on all parameters at once, as they do on a GPU; SGD takes temporary tensors as large as all
    parameters for that. The arguments are those of `nestevo_hw.profiler.fake_run.fake_step`.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.random.fork_rng(devices=[]):
        models = [model.train() for model in build()]
    parameters = [p for model in models for p in model.parameters()]
    learning = [p for p in parameters if p.requires_grad]
    step = training_optimiser(optimiser, learning, at_once=True)
    meter = _LifeMeter()
    meter.hold([*parameters, *(b for model in models for b in model.buffers())])
    for _ in range(STEPS):
        with mode, meter:
            step.zero_grad(set_to_none=True)
            with computing_in(precision, torch.device("cpu")):
                value = loss(models)
            meter.phase = "backward"
            value.backward()
            meter.phase = "forward"
        del value
        # Outside the mode the optimiser's step counters stay real, so that it may read their values.
        with meter:
            nn.utils.clip_grad_norm_(learning, CLIP_NORM, foreach=True)
            step.step()
    return GpuLife(events=tuple(meter.events))


def convolution_workspace(
    gradient: tuple[int, ...], image: tuple[int, ...], weight: tuple[int, ...], *, transposed: bool = False
) -> int:
    """Elements of the workspace of a convolution's backward pass: copies of what it works on. Modelled.

    cuDNN's kernels for tensor cores want channels last, so tensors with channels first are copied on their way in and
    out. A kernel of one pixel is a product of matrices in either order, and grouped convolutions have kernels of their
    own, so neither needs any. That the forward pass takes none is what measured reservations say.

    Args:
        gradient: shape (N, C_out, H', W') of the output's gradient.
        image: shape (N, C_in, H, W) of the input.
        weight: shape (C_out, C_in / groups, kH, kW), of a transposed convolution (C_in, C_out / groups, kH, kW).
        transposed: whether it is one.
    """
    if math.prod(weight[2:]) == 1 or weight[1] != (gradient if transposed else image)[1]:
        return 0
    return math.prod(gradient) + math.prod(image) + math.prod(weight)


class _LifeMeter(AllocationMeter):
    """Keeps births and deaths of tensors, and the workspaces of libraries between them.

    Attributes:
        phase: which thread works; the backward pass has one of its own on a GPU, and that its own handle of cuBLAS.
        events: see `GpuLife`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.phase: Literal["forward", "backward"] = "forward"
        self.events: list[Event] = []
        self._handles: set[str] = set()

    def hold(self, tensors: Sequence[Tensor]) -> None:
        """Tensors that were there before, and stay."""
        self.events += [(-1 - number, tensor.nbytes) for number, tensor in enumerate(tensors)]

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        name = getattr(func, "__name__", "").partition(".")[0]
        if name in _PRODUCTS and self.phase not in self._handles:
            self._handles.add(self.phase)
            self.events.append((BLAS_KEYS[self.phase], 0))
        result = func(*args, **kwargs)
        if name == _BACKWARD:
            gradient, image, weight = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)][:3]
            transposed = bool(argument(func, args, kwargs, "transposed"))
            shapes = (tuple(gradient.shape), tuple(image.shape), tuple(weight.shape))
            elements = convolution_workspace(*shapes, transposed=transposed)
            if elements:
                size = elements * image.itemsize
                self.events += [(_CONVOLUTION_KEY, size), (_CONVOLUTION_KEY, -size)]
        return result

    def _counts(self, tensor: Tensor) -> bool:
        return isinstance(tensor, FakeTensor)  # the optimiser's step counters stay in main memory

    def _born(self, key: int, size: int) -> None:
        if size:
            self.events.append((key, size))

    def _died(self, key: int, size: int) -> None:
        if size:
            self.events.append((key, -size))
