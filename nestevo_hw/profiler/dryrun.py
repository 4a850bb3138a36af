"""Measures one training step at two small batch sizes, from which larger ones are extrapolated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nestevo_hw.base.flops import flop_counter
from nestevo_hw.base.memory import inherited_bytes, peak_bytes
from nestevo_hw.profiler.clock import Clock
from nestevo_hw.profiler.memory import AllocationMeter, leaf_outputs
from nestevo_hw.profiler.step_cost import LARGE, SMALL, PerBatch, StepCost

TIMED_STEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    saved_bytes: int
    layer_output_bytes: int
    transient_bytes: int
    macs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timing:
    step_s: float
    resident_bytes: int


def measure_step(
    models: Sequence[nn.Module], loss: Callable[[int], Tensor], *, device: torch.device | None = None
) -> StepCost:
    """Measure a training step of models that learn together, with AdamW.

    The models' weights and buffers are afterwards as before; their gradients are gone and they are in training mode.

    Args:
        models: on `device`.
        loss: summed loss, with gradient, of a batch of as many frames as it is given; draws its frames itself, so that
            they are counted too.
        device: where the models are; the CPU if not given.
    """
    device = device or torch.device("cpu")
    buffers = [(buffer, buffer.clone()) for model in models for buffer in model.buffers()]
    parameters = [p for model in models for p in model.parameters()]
    learning = [p for p in parameters if p.requires_grad]
    # A learning rate of zero moves no weight but costs as much memory and time as any other.
    optimiser = torch.optim.AdamW(learning, lr=0.0, fused=True)
    for model in models:
        model.train()
    _step(optimiser, loss, SMALL)  # libraries load and the optimiser's state comes into being
    # Time and residence first, the smaller batch before the larger: counting slows steps and keeps tensors alive, and
    # the largest resident set never shrinks.
    shared_bytes = inherited_bytes()
    timings = [_time(optimiser, loss, size, Clock(device), shared_bytes) for size in (SMALL, LARGE)]
    small, large = (_count(models, parameters, optimiser, loss, size, device) for size in (SMALL, LARGE))
    optimiser.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
    states = (value for state in optimiser.state.values() for value in state.values())
    return StepCost(
        parameters=sum(p.numel() for p in parameters),
        parameter_bytes=sum(t.nbytes for t in [*parameters, *(buffer for buffer, _ in buffers)]),
        gradient_bytes=sum(p.nbytes for p in learning),
        optimiser_bytes=sum(value.nbytes for value in states if isinstance(value, Tensor)),
        saved_bytes=PerBatch(small=small.saved_bytes, large=large.saved_bytes),
        layer_output_bytes=PerBatch(small=small.layer_output_bytes, large=large.layer_output_bytes),
        transient_bytes=PerBatch(small=small.transient_bytes, large=large.transient_bytes),
        macs=PerBatch(small=small.macs, large=large.macs),
        step_s=PerBatch(small=timings[0].step_s, large=timings[1].step_s),
        resident_bytes=PerBatch(small=timings[0].resident_bytes, large=timings[1].resident_bytes),
    )


def _step(optimiser: torch.optim.Optimizer, loss: Callable[[int], Tensor], batch_size: int) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss(batch_size).backward()
    optimiser.step()


def _time(
    optimiser: torch.optim.Optimizer,
    loss: Callable[[int], Tensor],
    batch_size: int,
    clock: Clock,
    shared_bytes: int,
) -> _Timing:
    times = []
    for _ in range(TIMED_STEPS):
        began = clock.wall_s()
        _step(optimiser, loss, batch_size)
        times.append(clock.wall_s() - began)
    return _Timing(step_s=min(times), resident_bytes=peak_bytes(shared=shared_bytes))


def _count(
    models: Sequence[nn.Module],
    parameters: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    loss: Callable[[int], Tensor],
    batch_size: int,
    device: torch.device,
) -> _Counts:
    optimiser.zero_grad(set_to_none=True)
    flops = flop_counter()
    with _saved_for_backward(parameters) as saved, leaf_outputs(models) as outputs, flops:
        transient = _peak_of(lambda: _step(optimiser, loss, batch_size), device)
    return _Counts(
        saved_bytes=sum(saved.values()),
        layer_output_bytes=sum(outputs),
        transient_bytes=transient,
        macs=flops.get_total_flops() / 2,
    )


def _peak_of(run: Callable[[], None], device: torch.device) -> int:
    """Most bytes alive at a time of those that `run` allocates on the device."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    meter = AllocationMeter()
    with meter:
        run()
    return meter.peak_bytes


@contextmanager
def _saved_for_backward(parameters: Sequence[Tensor]) -> Iterator[dict[int, int]]:
    """Bytes of each storage that autograd keeps, by address, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in parameters}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
