"""What a training step does: its operations by sort and size."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nestevo_hw.base.flops import FORMULAS
from nestevo_hw.profiler.memory import AllocationMeter

COMPUTING = ("conv", "pointwise", "depthwise", "dense")
"""Sorts of operations whose time is bound by arithmetic."""
MOVING = ("norm", "regions", "pool", "random", "copy", "elementwise")
"""Sorts of operations whose time is bound by memory."""
SORTS = (*COMPUTING, *(f"{sort} backward" for sort in COMPUTING), *MOVING, *(f"{sort} backward" for sort in MOVING))

_NAME_PARTS = {
    "norm": ("batch_norm", "layer_norm", "group_norm"),
    "regions": ("roi_align",),
    "pool": ("pool", "upsample"),
    "random": ("rand", "bernoulli", "uniform", "normal_", "dropout"),
    "copy": ("copy", "cat", "clone", "index", "stack", "fill", "zero", "gather", "scatter", "topk", "sort", "new_"),
}


SMALL_BYTES = 16_384
"""Operations that move less than this and multiply nothing take the time of their call, whatever they do."""


class Operation(NamedTuple):
    """What the time of one operation depends on."""

    sort: str
    macs: int = 0
    """Multiply-accumulates; 0 where memory bounds it."""
    in_bytes: int = 0
    """Of its tensors, weights apart."""
    out_bytes: int = 0
    weight_bytes: int = 0
    """Of a convolution's weight."""
    inputs: int = 0
    """Channels that one output sees."""
    outputs: int = 0
    """Channels."""
    pixels: int = 0
    """Of an output of a convolution, all images together."""
    taps: int = 0
    """Of a convolution's kernel."""
    itemsize: int = 0
    """Bytes of an element of the first result."""


class StepMeter(AllocationMeter):
    """Counts operations next to what they allocate; works on real and on fake tensors.

    Attributes:
        operations: how often each was done; all small ones of a sort count as one without size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[Operation] = Counter()

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        result = func(*args, **kwargs)
        given = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if given and not getattr(func, "is_view", False):
            taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            done = _operation(func, args, kwargs, result, taken, given)
            small = not done.macs and done.in_bytes + done.out_bytes < SMALL_BYTES
            self.operations[Operation(done.sort) if small else done] += 1
        return result


class ComputingTimer(TorchDispatchMode):
    """Times the operations that compute, convolutions and products, where they happen; all others run untouched.

    Args:
        clock: seconds, once all that was begun is done.

    Attributes:
        seconds: of each time an operation was done.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock
        self.seconds: defaultdict[Operation, list[float]] = defaultdict(list)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        """Run an operation, timed if it computes."""
        del types
        kwargs = kwargs or {}
        if getattr(func, "_overloadpacket", None) not in FORMULAS:
            return func(*args, **kwargs)
        began = self._clock()
        result = func(*args, **kwargs)
        seconds = self._clock() - began
        taken, given = ([t for t in tree_leaves(tree) if isinstance(t, Tensor)] for tree in ((args, kwargs), result))
        self.seconds[_operation(func, args, kwargs, result, taken, given)].append(seconds)
        return result


def _operation(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: object,
    taken: list[Tensor],
    given: list[Tensor],
) -> Operation:
    name, formula = getattr(func, "__name__", ""), FORMULAS.get(getattr(func, "_overloadpacket", None))
    backward = " backward" if "backward" in name else ""
    macs = round(formula(*args, **kwargs, out_val=result) / 2) if formula is not None else 0
    moved = (sum(t.nbytes for t in taken), sum(t.nbytes for t in given))
    if "convolution" in name:
        tensors, output = (taken[1:], taken[0]) if backward else (taken, given[0])
        groups = int(argument(func, args, kwargs, "groups", 1)) if argument(func, args, kwargs, "transposed") else None
        return _convolution(tensors, output, macs, moved, backward, groups)
    if formula is not None:
        sort = "dense"
    else:
        sort = next((s for s, parts in _NAME_PARTS.items() if any(part in name for part in parts)), "elementwise")
    return Operation(
        sort=sort + backward, macs=macs, in_bytes=moved[0], out_bytes=moved[1], weight_bytes=0,
        inputs=_factor(func, args, kwargs, taken).shape[-1] if formula is not None else 0,
        outputs=given[0].shape[-1] if formula is not None and given[0].dim() else 0,
        pixels=given[0].shape[0] if formula is not None and given[0].dim() else 0, taps=0, itemsize=given[0].itemsize,
    )  # fmt: skip


def _factor(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], taken: list[Tensor]) -> Tensor:
    """The first of what a product multiplies: `addmm` and its like take what they add to it before."""
    named = (argument(func, args, kwargs, name, None) for name in ("mat1", "batch1", "mat"))
    return next((tensor for tensor in named if tensor is not None), taken[0])


def argument(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], name: str, default: object = False
) -> Any:  # noqa: ANN401 - whatever the operation takes
    """An argument of an operation of torch's, by its name in the schema; the default of one that has none such."""
    names = [known.name for known in getattr(func, "_schema").arguments]  # noqa: B009 - for mypy
    return {**dict(zip(names, args, strict=False)), **kwargs}.get(name, default)


def _convolution(
    data_and_weight: list[Tensor],
    output: Tensor,
    macs: int,
    moved: tuple[int, int],
    backward: str,
    transposed_groups: int | None,
) -> Operation:
    """A convolution from (input, weight, ...) and its output, or the output's gradient.

    The weight of a transposed one, whose groups are given, has the channels of the input first.
    """
    data, weight = data_and_weight[:2]
    outputs, inputs, *kernel = weight.shape
    if transposed_groups is not None:
        outputs, inputs = inputs * transposed_groups, outputs // transposed_groups
    dense = "pointwise" if math.prod(kernel) == 1 else "conv"
    sort = dense if data.shape[1] == inputs else "depthwise"
    return Operation(
        sort=sort + backward, macs=macs, in_bytes=moved[0] - weight.nbytes, out_bytes=moved[1],
        weight_bytes=weight.nbytes, inputs=inputs, outputs=outputs, pixels=output.numel() // max(outputs, 1),
        taps=math.prod(kernel), itemsize=data.itemsize,
    )  # fmt: skip
