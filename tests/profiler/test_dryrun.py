"""The dry run against torch's own profiler, hand-computed layers and real worker processes."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from training_chores import tiny_training

from nestevo_hw.base.documents import parse, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.profiler.dryrun import measure_step
from nestevo_hw.profiler.memory import (
    PAPER_WORKSPACE_BYTES,
    AllocationMeter,
    paper_memory_bytes,
    resident_memory,
    training_memory,
)
from nestevo_hw.profiler.step_cost import PerBatch, StepCost
from nestevo_hw.scheduler.baselines import SerialPolicy
from nestevo_hw.scheduler.executor import LocalExecutor
from nestevo_hw.scheduler.task import Task

FLOAT = 4


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny() -> tuple[nn.Module, Callable[[int], Tensor], StepCost]:
    model, loss = tiny_training()
    with torch.random.fork_rng(devices=[]):
        return model, loss, measure_step([model], loss)


def allocated_peak(run: Callable[[], None]) -> int:
    """Truth: running sum of the allocator's events as torch's profiler records them, inside operations too."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    live = peak = 0
    for event in recorded.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.parametrize("batch_size", [4, 8, 16])
def test_allocated_memory_of_a_detector_s_step(
    tiny: tuple[nn.Module, Callable[[int], Tensor], StepCost], batch_size: int
) -> None:
    """Measured errors are -0.4, -0.3 and -1.9 %: what convolutions allocate inside themselves stays unseen."""
    model, loss, step = tiny
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss(batch_size).backward()
        optimiser.step()

    with torch.random.fork_rng(devices=[]):
        run()
        optimiser.zero_grad(set_to_none=True)
        transient = allocated_peak(run)
    state = sum(value.nbytes for values in optimiser.state.values() for value in values.values())
    held = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    parts = training_memory(step, batch_size)
    assert parts.total == pytest.approx(held + state + transient, rel=0.05)
    assert (parts.parameters, parts.optimiser) == (held, state)


def test_linear_layer_by_hand() -> None:
    """y = x W^T + b with x (n, 64): kept for backward are x and, for the loss y * y, y: n * (64 + 32) floats."""
    layer = nn.Linear(64, 32)
    step = measure_step([layer], lambda n: layer(torch.ones(n, 64)).square().sum())
    weights = 64 * 32 + 32
    assert step.parameters == weights
    assert step.parameter_bytes == step.gradient_bytes == weights * FLOAT
    assert step.saved_bytes.at(10) == 10 * (64 + 32) * FLOAT
    assert step.layer_output_bytes.at(10) == 10 * 32 * FLOAT
    assert step.macs.at(10) == 2 * 10 * 64 * 32  # forward, and the weight's gradient; x needs none
    # AdamW keeps two moments, and one step count a tensor.
    assert step.optimiser_bytes == 2 * weights * FLOAT + 2 * FLOAT
    assert step.transient_bytes.at(10) >= 10 * (64 + 32) * FLOAT


def test_convolution_s_operations_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    step = measure_step([conv], lambda n: conv(torch.ones(n, 3, 10, 12)).sum())
    assert step.macs.at(5) == 2 * 5 * (8 * 10 * 12) * (3 * 3 * 3)


def test_dry_run_leaves_the_model_as_it_was(tiny: tuple[nn.Module, Callable[[int], Tensor], StepCost]) -> None:
    model, loss, _ = tiny
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        measure_step([model], loss)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_frozen_parameters_have_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
    model[0].requires_grad_(False)
    step = measure_step([model], lambda n: model(torch.ones(n, 16)).sum())
    assert step.gradient_bytes == (16 * 4 + 4) * FLOAT
    assert step.parameter_bytes == (16 * 16 + 16 + 16 * 4 + 4) * FLOAT


def test_meter_counts_each_storage_once_and_forgets_the_dead() -> None:
    with AllocationMeter() as meter:
        a = torch.zeros(1000)
        view = a.view(10, 100)[2:5]
        a.add_(1.0)
        assert meter.live_bytes == 1000 * FLOAT
        b = a + 1.0
        assert meter.live_bytes == 2000 * FLOAT
        del b
        assert meter.live_bytes == 1000 * FLOAT
        del a
        assert meter.live_bytes == 1000 * FLOAT  # the view keeps it
        del view
        assert meter.live_bytes == 0
    assert meter.peak_bytes == 2000 * FLOAT


def test_per_batch_is_linear_and_never_falls() -> None:
    line = PerBatch(small=30.0, large=50.0)
    assert [line.at(n) for n in (1, 2, 4, 8)] == [20.0, 30.0, 50.0, 90.0]
    assert PerBatch(small=50.0, large=40.0).at(100) == 40.0


def test_paper_formula() -> None:
    """By hand: 10 MB of parameters, 3 MB a frame, batch 8."""
    with_momentum = paper_memory_bytes(parameter_bytes=10_000_000, activation_bytes_per_frame=3e6, batch_size=8)
    assert with_momentum == 10_000_000 + 24_000_000 + 24_000_000 + 20_000_000 + PAPER_WORKSPACE_BYTES
    plain = paper_memory_bytes(parameter_bytes=10_000_000, activation_bytes_per_frame=3e6, batch_size=8, momentum=False)
    assert with_momentum - plain == 10_000_000


def test_cost_survives_json(tiny: tuple[nn.Module, Callable[[int], Tensor], StepCost]) -> None:
    step = tiny[2]
    assert parse(plain(step), StepCost, "step profile") == step
    damaged = plain(step)
    del damaged["step_s"]["large"]
    with pytest.raises(InputError, match=r"step profile: step_s\.large: field required"):
        parse(damaged, StepCost, "step profile")


def test_resident_memory_of_a_worker() -> None:
    """Dry run in one worker, training in others: too much by 30 to 40 MB on a quiet machine, the safe side.

    On a busy one, whose kernel takes idle pages from a worker, by up to 86 MB.
    """

    def task(name: str, chore: str, **payload: int) -> Task:
        return Task(name=name, function=f"training_chores:{chore}", payload=payload, memory_bytes=1, duration_s=1.0)

    preload = ["torch", "torchvision.models.detection", "nestevo_hw.models.faster_rcnn", "torch.utils.flop_counter"]
    with LocalExecutor(policy=SerialPolicy(), memory_bytes=10, workers=1, preload=preload) as executor:
        results = executor.run(
            [
                task("dry", "dry_run"),
                task("8", "train", steps=3, batch_size=8),
                task("16", "train", steps=3, batch_size=16),
            ]
        )
    step = parse(results["dry"].value, StepCost, "step profile")
    for batch_size in (8, 16):
        measured = results[str(batch_size)].peak_memory_bytes
        spare = resident_memory(step, batch_size) - measured
        assert -0.1 * measured <= spare <= 120e6
