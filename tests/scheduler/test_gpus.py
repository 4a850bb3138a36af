"""Memory of a GPU: what workers may take of it, what they took, and that main memory is another thing.

Workers pretend to have a GPU, as there need not be one.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.calling import most_gpu_reserved, see_gpu
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.executor import LocalExecutor
from nestevo_hw.scheduler.outcomes import Outcome
from nestevo_hw.scheduler.policies import KnapsackPolicy
from nestevo_hw.scheduler.task import Task, TaskResult

MB = 10**6
GPU = Device(memory_bytes=200 * MB, cores=1, name="GPU 0", gpu=0, context_bytes=30 * MB)


def task(chore: str, *, memory_bytes: int, **payload: Any) -> Task:
    return Task(name="t", function=f"chores:{chore}", payload=payload, memory_bytes=memory_bytes, duration_s=1.0)


def run(one: Task, events: list[TaskEvent]) -> TaskResult:
    with LocalExecutor(
        policy=KnapsackPolicy(), memory_bytes=1, workers=1, gpus=(GPU,), look=None, preload=(), on_event=events.append
    ) as ex:
        return ex.run([one])["t"]


def test_the_allocator_may_take_what_the_context_leaves() -> None:
    assert GPU.allocator_bytes(80 * MB) == 50 * MB
    assert GPU.allocator_bytes(20 * MB) == 1  # too little for the context: it will fail, and be tried with more
    assert GPU.allocator_bytes(0) == 0
    assert GPU.gpu_taken(40 * MB) == 70 * MB
    assert GPU.gpu_taken(0) == 0, "no context of its own"
    assert GPU.gpu_taken(None) is None
    assert Device(memory_bytes=1, cores=1).gpu_taken(40 * MB) is None


def test_a_worker_sees_its_gpu_among_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is as before when this test is over
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("P", (), {"total_memory": 1000})())
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: limits.append(share))
    for visible, number, most, seen in (
        (None, 1, 250, "1"), ("3,GPU-5a", 1, 500, "GPU-5a"), ("3", 0, 5000, "3"), ("3", 1, 1, ""), ("3", 0, 0, ""),
    ):  # fmt: skip
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        see_gpu(number, most)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    assert limits == [0.25, 0.5, 1.0, 0.001]  # and none where the GPU is hidden
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert most_gpu_reserved() == 0


def test_peaks_of_both_memories_are_told_each_as_what_it_is(tmp_path: Path) -> None:
    one = task("pretend_gpu", memory_bytes=80 * MB, reserved=40 * MB, short=False, marker=str(tmp_path / "m"))
    result = run(one, [])
    assert result.value == {"visible": "0"}
    assert result.gpu_peak_bytes == result.held_bytes == 70 * MB  # with the context
    assert result.peak_memory_bytes > 70 * MB, "main memory of a process with torch"
    outcome = Outcome.of(one, result)
    assert (outcome.peak_bytes, outcome.memory_ratio) == (70 * MB, 70 / 80)


def test_a_gpu_too_small_for_its_task_is_reserved_again_by_what_the_gpu_shows(tmp_path: Path) -> None:
    events: list[TaskEvent] = []
    one = task("pretend_gpu", memory_bytes=80 * MB, reserved=110 * MB, short=True, marker=str(tmp_path / "m"))
    assert run(one, events).attempts == 2
    retried = next(e for e in events if e.kind == "retried")
    assert retried.task.memory_bytes == 5 * (110 + 30) * MB // 4
    assert "0.08 GB of GPU memory reserved, 0.14 GB taken at most" in retried.message


def test_a_task_without_gpu_memory_sees_none() -> None:
    result = run(task("whereabouts", memory_bytes=0), [])
    assert result.value == {"visible": ""}
    assert result.gpu_peak_bytes == 0
    assert Outcome.of(task("whereabouts", memory_bytes=0), result).memory_ratio == 0.0
