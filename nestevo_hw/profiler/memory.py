"""Memory of a training task by its parts: M = m_p + m_f + m_g + m_opt + m_ws (section 6.1 of the paper)."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nestevo_hw.profiler.step_cost import StepCost

PAPER_WORKSPACE_BYTES = 850_000_000
"""The paper's library workspace: 850 MB under CUDA 11.1 and cuDNN 8.0.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryParts:
    """Predicted peak of allocated bytes of a training step."""

    parameters: int
    """m_p, with buffers."""
    activations: int
    """m_f: kept from forward for backward."""
    gradients: int
    """m_g: of the parameters."""
    optimiser: int
    """m_opt."""
    workspace: int
    """m_ws: what the measured peak holds beyond the other parts, temporaries above all. Negative where gradients and
    activations are not alive at the same time, as in deep networks."""

    @property
    def total(self) -> int:
        """M."""
        return self.parameters + self.activations + self.gradients + self.optimiser + self.workspace


def training_memory(cost: StepCost, batch_size: int) -> MemoryParts:
    """Peak of allocated bytes of a training step, extrapolated from the dry run."""
    activations = round(cost.saved_bytes.at(batch_size))
    transient = round(cost.transient_bytes.at(batch_size))
    return MemoryParts(
        parameters=cost.parameter_bytes,
        activations=activations,
        gradients=cost.gradient_bytes,
        optimiser=cost.optimiser_bytes,
        workspace=transient - activations - cost.gradient_bytes,
    )


def resident_memory(cost: StepCost, batch_size: int) -> int:
    """Most memory that a process takes of its own to train on the CPU at a batch size, bytes.

    It grows faster than allocated bytes (about twice as fast for the tiny detector), because the C library keeps freed
    memory that later tensors do not fit into, so it is measured and extrapolated on its own. A dry run in a process
    that once held more sees no growth; allocated bytes are then the least that must be added.
    """
    resident, transient = cost.resident_bytes, cost.transient_bytes
    allocated_growth = transient.at(batch_size) - transient.large
    return round(max(resident.at(batch_size), resident.large + allocated_growth))


def paper_memory_bytes(
    *, parameter_bytes: int, activation_bytes_per_frame: float, batch_size: int, momentum: bool = True
) -> int:
    """The paper's fixed formula, kept for comparison.

    Args:
        parameter_bytes: m_p.
        activation_bytes_per_frame: outputs of all layers for one frame.
        batch_size: frames a step.
        momentum: whether the optimiser keeps first-order momentum.

    Returns:
        m_p + m_f + m_g + m_opt + m_ws with m_g = m_f, m_opt = 2 m_p with momentum and m_p without, m_ws = 850 MB.
    """
    intermediate = activation_bytes_per_frame * batch_size
    optimiser = parameter_bytes * (2 if momentum else 1)
    return round(parameter_bytes + 2 * intermediate + optimiser + PAPER_WORKSPACE_BYTES)


class AllocationMeter(TorchDispatchMode):
    """Counts the bytes of tensors that operations create and that are still alive, and their peak.

    What an operation allocates and frees inside itself (a convolution's workspace) stays unseen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = 0
        self.peak_bytes = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        """Run an operation, then count what it created."""
        del types
        known = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = self._call(func, args, kwargs or {})
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and self._counts(leaf):
                storage = leaf.untyped_storage()
                # A result that shares an argument's storage, a view or in place, is nothing new.
                if id(storage) not in known and id(storage) not in self._alive:
                    self._count(storage)
        return result

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """Run the operation itself."""
        return func(*args, **kwargs)

    def _counts(self, tensor: Tensor) -> bool:
        """Whether a tensor is in the memory that is looked at."""
        del tensor
        return True

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_: object) -> None:
            self.live_bytes -= size
            self._alive.pop(key, None)
            self._died(key, size)

        self._alive[key] = weakref.ref(storage, gone)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        self._born(key, size)

    def _born(self, key: int, size: int) -> None:
        """Called with every new storage: a key that no other living one has, and its bytes."""

    def _died(self, key: int, size: int) -> None:
        """Called with every storage that is freed."""


@contextmanager
def leaf_outputs(models: Sequence[nn.Module]) -> Iterator[list[int]]:
    """Bytes of each tensor that a module without children returns."""
    sizes: list[int] = []

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.nbytes)

    leaves = [module for model in models for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(note) for module in leaves]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()
