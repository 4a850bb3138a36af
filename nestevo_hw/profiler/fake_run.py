"""A training step on fake tensors: shapes and lifetimes as in the real one, without memory and arithmetic."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

from nestevo_hw.base.compute import Precision, computing_in
from nestevo_hw.profiler.memory import leaf_outputs
from nestevo_hw.profiler.operations import Operation, StepMeter

Optimiser = Literal["adamw", "sgd", "sgd-momentum"]
CLIP_NORM = 5.0
"""Gradients are clipped to this norm in every training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWork:
    """One training step (forward, backward, clipping, optimiser) at one batch size, by a fake run."""

    parameters: int
    """Elements of all parameters."""
    held_bytes: int
    """Parameters, buffers and the optimiser's state: alive between steps."""
    transient_bytes: int
    """Most bytes alive at a time of all that the step allocates and frees again, gradients included."""
    saved_bytes: int
    """Alive when the backward pass begins."""
    layer_output_bytes: int
    """Outputs of all leaf modules, as the paper counts intermediate results."""
    tensors: int
    """Parameters of their own memory, each a call of the optimiser."""
    operations: tuple[tuple[Operation, int], ...]
    """Operations and how often each is done."""

    @property
    def peak_bytes(self) -> int:
        """Peak of allocated tensor bytes."""
        return self.held_bytes + self.transient_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations."""
        return sum(operation.macs * count for operation, count in self.operations)


def fake_step(
    build: Callable[[], Sequence[nn.Module]],
    loss: Callable[[Sequence[nn.Module]], Tensor],
    *,
    optimiser: Optimiser = "adamw",
    precision: Precision = "float32",
) -> StepWork:
    """Run a training step on fake tensors.

    Args:
        build: makes the models that learn together; called under fake tensors, so a factory costs no memory. Models
            that exist already are best handed over with `fake_copies`.
        loss: summed loss of a batch; makes its batch itself, so that it is counted. Nothing in it may depend on values.
        optimiser: AdamW, or SGD with or without momentum.
        precision: bfloat16 stands for autocast.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.random.fork_rng(devices=[]):
        models = [model.train() for model in build()]
    parameters = [p for model in models for p in model.parameters()]
    learning = [p for p in parameters if p.requires_grad]
    step = training_optimiser(optimiser, learning)
    _run(mode, models, learning, step, loss, precision)  # the optimiser's state comes into being
    step.zero_grad(set_to_none=True)
    with leaf_outputs(models) as outputs:
        meter, saved = _run(mode, models, learning, step, loss, precision)
    states = [v for state in step.state.values() for v in state.values() if isinstance(v, Tensor)]
    held = [*parameters, *(b for model in models for b in model.buffers()), *states]
    return StepWork(
        parameters=sum(p.numel() for p in parameters),
        held_bytes=sum(t.nbytes for t in held),
        transient_bytes=meter.peak_bytes,
        saved_bytes=saved,
        layer_output_bytes=sum(outputs),
        tensors=len(learning),
        operations=tuple(meter.operations.items()),
    )


def fake_copies(models: Sequence[nn.Module]) -> Callable[[], Sequence[nn.Module]]:
    """A `build` for `fake_step` that copies models without their values."""

    def build() -> Sequence[nn.Module]:
        mode = detect_fake_mode()
        assert mode is not None  # fake_step calls this under its mode
        # A module may keep plain tensors, such as cell anchors, that cannot be copied under fake tensors.
        with _disable_current_modes():
            copies = [copy.deepcopy(model).cpu() for model in models]  # surrogate losses make their tensors there
        for module in (m for one in copies for m in one.modules()):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(mode.from_tensor(parameter.data), parameter.requires_grad))
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, mode.from_tensor(buffer))
        return copies

    return build


def training_optimiser(
    name: Optimiser, parameters: Sequence[nn.Parameter], *, at_once: bool | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a name, with a learning rate that hardly moves anything: its cost does not depend on it.

    `at_once` says whether SGD moves all parameters together; by default it does where they are on a GPU. AdamW is
    fused, as in every training.
    """
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=1e-6, fused=True)
    momentum = 0.9 if name == "sgd-momentum" else 0.0
    return torch.optim.SGD(parameters, lr=1e-6, momentum=momentum, foreach=at_once)


def _run(
    mode: FakeTensorMode,
    models: Sequence[nn.Module],
    learning: Sequence[nn.Parameter],
    step: torch.optim.Optimizer,
    loss: Callable[[Sequence[nn.Module]], Tensor],
    precision: Precision,
) -> tuple[StepMeter, int]:
    """One step; returns its meter, and the bytes alive when the backward pass begins."""
    meter = StepMeter()
    with mode, meter:
        with computing_in(precision, torch.device("cpu")):
            value = loss(models)
        saved = meter.live_bytes
        value.backward()
    del value
    # Outside the mode the optimiser's step counters stay real, so that it may read their values.
    with meter:
        nn.utils.clip_grad_norm_(learning, CLIP_NORM)
        step.step()
    return meter, saved
