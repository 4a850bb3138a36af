"""GPUs: what workers may take of their memory, that they stay from task to task, and what becomes of those that fail.

The GPU is a stand-in (`fake_gpu`), as there need not be one; processes, messages and reservations are real.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from nestevo_hw.base.errors import TaskError
from nestevo_hw.base.memory import MachineMemory
from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.calling import call
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.executor import LocalExecutor
from nestevo_hw.scheduler.gpu import limit_gpu_memory, most_gpu_reserved, see_gpu
from nestevo_hw.scheduler.machine import Machine, Queued, Reservation
from nestevo_hw.scheduler.outcomes import Outcome
from nestevo_hw.scheduler.policies import KnapsackPolicy
from nestevo_hw.scheduler.task import Task, TaskFailure

MB = 10**6
GPU = Device(memory_bytes=400 * MB, cores=1, name="GPU 0", gpu=0, context_bytes=30 * MB)
TWO = Device(memory_bytes=400 * MB, cores=2, name="GPU 0", gpu=0, context_bytes=30 * MB)


def task(name: str, chore: str = "fake_gpu:compute", *, memory_bytes: int = 80 * MB, **payload: Any) -> Task:
    function = chore if ":" in chore else f"chores:{chore}"
    return Task(name=name, function=function, payload=payload, memory_bytes=memory_bytes, duration_s=1.0)


@contextmanager
def executor(*gpus: Device, **more: Any) -> Iterator[LocalExecutor]:
    more = {"look": None, "preload": ("fake_gpu",)} | more
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=1, workers=1, gpus=gpus or (GPU,), **more) as opened:
        yield opened


def test_the_allocator_may_take_what_the_context_leaves() -> None:
    assert GPU.allocator_bytes(80 * MB) == 50 * MB
    assert GPU.allocator_bytes(20 * MB) == 1  # too little for the context: it will fail, and be tried with more
    assert GPU.allocator_bytes(0) == 0
    assert GPU.gpu_taken(40 * MB) == 70 * MB
    assert GPU.gpu_taken(0) == 0, "no context of its own"
    assert GPU.gpu_taken(None) is None
    assert Device(memory_bytes=1, cores=1).gpu_taken(40 * MB) is None


def test_as_many_workers_as_contexts_leave_room_for() -> None:
    def at_once(memory_mb: int, cores: int, context_mb: int) -> int:
        device = Device(memory_bytes=memory_mb * MB, cores=cores, gpu=0, context_bytes=context_mb * MB)
        return device.workers_at_once

    assert at_once(16_000, 4, 800) == 4, "of its cores"
    assert at_once(4_000, 4, 800) == 2, "whose contexts take no more than half of the memory"
    assert at_once(1_000, 4, 800) == 1
    assert at_once(1_000, 4, 0) == 4


def test_a_worker_sees_its_gpu_among_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is as before when this test is over
    for visible, number, seen in (
        (None, 1, "1"), ("3,GPU-5a", 1, "GPU-5a"), ("3", 0, "3"), ("3", 1, ""), ("3", None, ""),
    ):  # fmt: skip
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        see_gpu(number)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_the_allocator_is_kept_to_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("P", (), {"total_memory": 1000})())
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: limits.append(share))
    for most in (250, 5000, 1):
        limit_gpu_memory(most)
    assert limits == [0.25, 1.0, 0.001]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert most_gpu_reserved() == 0


def test_one_worker_takes_task_after_task_and_each_finds_it_as_new() -> None:
    with executor() as ex:
        results = [ex.run([task(f"t{k}", bytes=k * 10 * MB, memory_bytes=(60 + 10 * k) * MB)]) for k in range(4)]
    found = [result[f"t{k}"] for k, result in enumerate(results)]
    assert len({one.value["pid"] for one in found}) == 1, "one process"
    for k, one in enumerate(found):
        assert one.value["visible"] == "0"
        assert one.value["limit"] == (30 + 10 * k) * MB, "what this task has reserved, less the context"
        assert (one.value["random"], one.value["allocated"]) == (7, 0), "nothing is left of the task before"
        assert one.gpu_peak_bytes == one.held_bytes == ((30 + 10 * k) * MB if k else 0), "its own peak and the context"


def test_host_memory_is_told_task_by_task() -> None:
    with executor() as ex:
        big = ex.run([task("big", "allocate", bytes=100 * MB)])["big"]
        small = ex.run([task("small", "allocate", bytes=5 * MB)])["small"]
    assert 95 * MB < big.peak_memory_bytes < 130 * MB
    assert small.peak_memory_bytes < 40 * MB, "not what the worker held before"
    assert Outcome.of(task("big"), big).peak_bytes == 0, "of the GPU, of which it took nothing"


def test_tasks_without_gpu_memory_get_a_process_of_their_own_that_sees_no_gpu() -> None:
    with executor() as ex:
        results = [ex.run([task(f"t{k}", memory_bytes=0)])[f"t{k}"] for k in range(2)]
    assert [r.value["visible"] for r in results] == ["", ""]
    assert len({r.value["pid"] for r in results}) == 2
    assert results[0].gpu_peak_bytes == 0
    assert Outcome.of(task("t0", memory_bytes=0), results[0]).memory_ratio == 0.0


def test_out_of_memory_replaces_the_worker_and_tries_again_with_all_there_is() -> None:
    events: list[TaskEvent] = []
    with executor(on_event=events.append) as ex:
        before = ex.run([task("before")])["before"]
        again = ex.run([task("t", bytes=110 * MB)])["t"]
    assert again.attempts == 2
    assert again.value["pid"] != before.value["pid"]
    assert again.value["limit"] == 370 * MB, "the whole GPU, less the context"
    retried = next(e for e in events if e.kind == "retried")
    assert retried.task.memory_bytes == GPU.memory_bytes, "what it needs is not known"
    assert "0.08 GB of GPU memory reserved, 0.08 GB taken at most" in retried.message


@pytest.mark.parametrize(
    ("message", "short"),
    [
        ("CUDA error: out of memory", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("CUDA error: device-side assert triggered", False),
    ],
)
def test_what_libraries_say_of_memory_is_understood(message: str, *, short: bool) -> None:
    assert call("chores:fail", json.dumps({"message": message}))["error"]["out_of_memory"] is short


def test_a_worker_that_dies_is_replaced_and_its_task_tried_again(tmp_path: Path) -> None:
    events: list[TaskEvent] = []
    with executor(on_event=events.append) as ex:
        before = ex.run([task("before")])["before"]
        survived = ex.run([task("t", "fake_gpu:die_once", mark=str(tmp_path / "m"))])["t"]
        after = ex.run([task("after")])["after"]
    assert survived.attempts == 2
    assert survived.value["pid"] not in (before.value["pid"],)
    assert after.value["pid"] == survived.value["pid"]
    retried = next(e for e in events if e.kind == "retried")
    assert retried.task.memory_bytes == 160 * MB, "nothing is known of what it took of the GPU"
    assert "0.08 GB of GPU memory reserved, what it took is not known" in retried.message


@pytest.mark.parametrize(("breaks", "keeps_worker"), [(False, True), (True, False)])
def test_an_error_of_the_task_keeps_its_worker_unless_the_gpu_is_broken(*, breaks: bool, keeps_worker: bool) -> None:
    failures: list[TaskFailure] = []
    with executor() as ex:
        before = ex.run([task("before")])["before"]
        ex.run([task("t", "fake_gpu:fail", breaks=breaks)], on_failure=lambda _, failure: failures.append(failure))
        after = ex.run([task("after")])["after"]
    assert failures[0].error_type == "ValueError"
    assert "fake_gpu.py" in failures[0].traceback
    assert (after.value["pid"] == before.value["pid"]) is keeps_worker
    assert after.value["allocated"] == 0


def test_a_worker_that_keeps_memory_is_replaced() -> None:
    with executor() as ex:
        first = ex.run([task("first", bytes=70 * MB, memory_bytes=150 * MB, keeps=True)])["first"]
        second = ex.run([task("second")])["second"]
    assert second.value["pid"] != first.value["pid"]
    assert second.value["allocated"] == 0


def test_a_task_that_is_stopped_takes_its_worker_with_it(tmp_path: Path) -> None:
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    sleeper = task("sleeper", "sleep", begun=str(begun), cleaned=str(cleaned))
    with executor(timeout_s=0.4) as ex:
        with pytest.raises(TaskError, match="was stopped after"):
            ex.run([sleeper])
        assert cleaned.exists(), "it could clean up"
        after = ex.run([task("after")])["after"]
    assert after.value["pid"] != int(begun.read_text())


def test_closing_leaves_no_worker_behind() -> None:
    with executor(TWO) as ex:
        pid = ex.run([task("t")])["t"].value["pid"]
        assert Path(f"/proc/{pid}").exists(), "idle, with its context"
    deadline = time.monotonic() + 10.0
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline


def test_two_workers_of_a_gpu_work_at_the_same_time(tmp_path: Path) -> None:
    here, there = str(tmp_path / "a"), str(tmp_path / "b")
    pair = [task("a", "meet", here=here, other=there), task("b", "meet", here=there, other=here)]
    with executor(TWO) as ex:
        assert len(ex.run(pair)) == 2


def test_an_idle_worker_goes_where_a_task_needs_the_memory_of_its_context(tmp_path: Path) -> None:
    here, there = str(tmp_path / "a"), str(tmp_path / "b")
    pair = [task("a", "meet", here=here, other=there), task("b", "meet", here=there, other=here)]
    with executor(TWO) as ex:
        ex.run(pair)
        pids = {ex.run([task(f"small {k}")])[f"small {k}"].value["pid"] for k in range(2)}
        assert len(_children(pids)) == 2
        ex.run([task("large", memory_bytes=390 * MB, bytes=300 * MB)])
        assert len(_children(pids)) == 1, "two contexts would not leave it its memory"


def test_each_gpu_has_workers_of_its_own() -> None:
    other = Device(memory_bytes=100 * MB, cores=1, name="GPU 1", gpu=1, context_bytes=30 * MB)
    with executor(GPU, other) as ex:
        results = ex.run([task("large", memory_bytes=350 * MB), task("small", memory_bytes=90 * MB)])
    assert {name: r.value["visible"] for name, r in results.items()} == {"large": "0", "small": "1"}


def test_main_memory_beside_a_gpu_is_reserved() -> None:
    def one(name: str, host_bytes: int) -> Task:
        return Task(
            name=name, function="chores:square", payload={}, memory_bytes=MB, host_bytes=host_bytes, duration_s=1.0
        )

    four = Device(memory_bytes=400 * MB, cores=4, gpu=0)
    machine = Machine(devices=(four,), host_bytes=100 * MB)
    tasks = [one("a", 60 * MB), one("b", 60 * MB), one("c", 40 * MB)]
    waiting = [Queued(task=t, arrived_s=0.0) for t in tasks]
    chosen = [p.task.name for p in machine.admit(KnapsackPolicy(), waiting, [], 0.0)]
    assert sorted(chosen) in (["a", "c"], ["b", "c"])
    huge = [Queued(task=one("huge", 1000 * MB), arrived_s=0.0)]
    assert len(machine.admit(KnapsackPolicy(), huge, [], 0.0)) == 1, "alone it may try"
    running = [Reservation(task=tasks[0], device=0, started_s=0.0)]
    assert machine.admit(KnapsackPolicy(), huge, running, 0.0) == []


def test_a_task_on_a_gpu_is_held_to_its_main_memory(tmp_path: Path) -> None:
    """Stopped where the machine has none left, though its reservation of the GPU is kept."""
    events: list[TaskEvent] = []

    def short() -> MachineMemory:
        return MachineMemory(total_bytes=10**9, available_bytes=10 * MB)

    holder = Task(
        name="holder", function="chores:hold", memory_bytes=80 * MB, host_bytes=20 * MB, duration_s=1.0,
        payload={"bytes": 150 * MB, "holds": str(tmp_path / "holds"), "until": str(tmp_path / "never")},
    )  # fmt: skip
    with executor(look=short, host_bytes=500 * MB, on_event=events.append) as ex, pytest.raises(TaskError):
        ex.run([holder])
    assert [e.kind for e in events].count("exceeded") >= 1
    retried = next(e for e in events if e.kind == "retried")
    assert (retried.task.memory_bytes, retried.task.host_bytes) == (80 * MB, 500 * MB)


def _children(siblings: set[int]) -> list[int]:
    """Living processes with the parent of these."""
    parents = {_parent(Path(f"/proc/{pid}/stat")) for pid in siblings} - {None}
    return [int(s.parent.name) for s in Path("/proc").glob("[0-9]*/stat") if _parent(s) in parents]


def _parent(status: Path) -> int | None:
    try:
        fields = status.read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return None
    return None if fields[0] == "Z" else int(fields[1])
