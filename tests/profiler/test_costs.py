import math
from dataclasses import replace

import pytest

from nestevo_hw.profiler.costs import CostModel, DryRunCosts, Measured, TaskFeatures, task_features
from nestevo_hw.profiler.memory import resident_memory, training_memory
from nestevo_hw.profiler.step_cost import PerBatch, StepCost
from nestevo_hw.profiler.target import CPU, CUDA, CUDA_HOPPER, GpuMemory, TargetDevice, rounded_up

COST = StepCost(
    parameters=1000,
    parameter_bytes=4000,
    gradient_bytes=4000,
    optimiser_bytes=8000,
    saved_bytes=PerBatch(small=200.0, large=400.0),
    layer_output_bytes=PerBatch(small=300.0, large=600.0),
    transient_bytes=PerBatch(small=5000.0, large=6000.0),
    macs=PerBatch(small=2e6, large=4e6),
    step_s=PerBatch(small=0.3, large=0.5),
    resident_bytes=PerBatch(small=100_000.0, large=104_000.0),
)


def features(
    kind: str = "mutual", *, steps: int = 40, device: TargetDevice = CPU, gpu: GpuMemory | None = None
) -> TaskFeatures:
    return task_features(COST, kind=kind, frames=96, batch_size=8, steps=steps, device=device, gpu=gpu)


def test_features_by_hand() -> None:
    found = features()
    assert found.dry_duration_s == pytest.approx(0.9 * 40)
    assert found.macs_per_step == 8e6
    assert found.activation_bytes == 800.0
    assert found.dry_memory_bytes == resident_memory(COST, 8) == 112_000
    # parameters 4000 + optimiser 8000 + the largest transient at 8 frames, 8000
    assert training_memory(COST, 8).total == 20_000


@pytest.mark.parametrize("device", [CUDA, CUDA_HOPPER])
def test_memory_of_a_gpu_is_all_that_the_process_takes_of_it(device: TargetDevice) -> None:
    gpu = GpuMemory(tensor_bytes=100, blas_bytes=20, unused_bytes=3, context_bytes=1000)
    assert features(device=device, gpu=gpu).dry_memory_bytes == 1123
    assert features(device=device).dry_memory_bytes == rounded_up(device, 20_000).total_bytes
    assert features(gpu=gpu).dry_memory_bytes == resident_memory(COST, 8)


def test_memory_of_another_sort_corrects_nothing() -> None:
    costs = DryRunCosts()
    costs.observe(features(device=CUDA), Measured(memory_bytes=None, duration_s=72.0))
    prediction = costs.predict(features(device=CUDA))
    assert prediction.memory_bytes == features(device=CUDA).dry_memory_bytes
    assert prediction.duration_s == pytest.approx(72.0)


def test_memory_is_corrected_by_kind_and_subject() -> None:
    """A task that failed for want of memory has no duration to learn from."""
    costs = DryRunCosts()
    a, b, c = (replace(features(), subject=name) for name in "abc")
    costs.observe(a, Measured(memory_bytes=112_000 * 15, duration_s=None))
    costs.observe(b, Measured(memory_bytes=112_000, duration_s=9.0))
    assert [costs.predict(f).memory_bytes for f in (a, b, c)] == [112_000 * 15, 112_000, 112_000 * 15]


def test_resident_memory_grows_at_least_with_allocations() -> None:
    """A dry run in a process that once held more sees its resident set stand still."""
    flat = replace(COST, resident_bytes=PerBatch(small=104_000.0, large=104_000.0))
    assert resident_memory(flat, 8) == 104_000 + 2000


def test_without_experience_the_dry_run_stands() -> None:
    prediction = DryRunCosts().predict(features())
    assert (prediction.memory_bytes, prediction.duration_s) == (112_000, pytest.approx(36.0))


def test_experience_corrects_tasks_of_the_same_kind_only() -> None:
    costs: CostModel = DryRunCosts()
    costs.observe(features(steps=10), Measured(memory_bytes=112_000 * 2, duration_s=9.0 * 4))
    costs.observe(features(steps=20), Measured(memory_bytes=112_000, duration_s=18.0))
    prediction = costs.predict(features(steps=40))
    assert prediction.duration_s == pytest.approx(36.0 * math.sqrt(4.0 * 1.0))  # geometric mean of 4 and 1
    assert prediction.memory_bytes == 224_000  # the worst seen
    other = costs.predict(features("distil"))
    assert (other.memory_bytes, other.duration_s) == (112_000, pytest.approx(36.0))
