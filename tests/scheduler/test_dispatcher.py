"""What an executor does around its workers: failures handed over, time-outs, cancelling, arrivals, several devices."""

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from nestevo_hw.base.errors import TaskError
from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.baselines import SerialPolicy
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.dispatcher import MOST_LOSSES, Dispatcher
from nestevo_hw.scheduler.executor import Executor, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.task import Task, TaskFailure
from nestevo_hw.scheduler.workers import DeviceLost, Ended, Event, Started

MB = 10**6


def task(name: str, chore: str, *, memory_bytes: int = 10 * MB, arrives_s: float = 0.0, **payload: Any) -> Task:
    return Task(
        name=name,
        function=f"chores:{chore}",
        payload=payload,
        memory_bytes=memory_bytes,
        duration_s=1.0,
        arrives_s=arrives_s,
    )


def executor(workers: int = 2, **more: Any) -> LocalExecutor:
    return LocalExecutor(policy=KnapsackPolicy(), memory_bytes=1000 * MB, workers=workers, preload=(), **more)


class Failures(list[TaskFailure]):
    def take(self, task: Task, failure: TaskFailure) -> None:
        assert task.name == failure.name
        self.append(failure)


@pytest.mark.parametrize("workers", [0, 2])
def test_failures_are_handed_over_and_the_others_go_on(workers: int) -> None:
    failures, events = Failures(), list[TaskEvent]()
    tasks = [task("bad", "fail", message="no such frame"), *(task(f"t{x}", "square", x=x) for x in range(4))]
    with executor(workers, on_event=events.append) as ex:
        checked: Executor = ex
        results = checked.run(tasks, on_failure=failures.take)
    assert list(results) == ["t0", "t1", "t2", "t3"]
    assert [(f.name, f.reason, f.attempts) for f in failures] == [
        ("bad", "task bad failed: ValueError: no such frame", 1)
    ]
    assert "chores.py" in failures[0].traceback
    assert [e.message for e in events if e.kind == "failed"] == [failures[0].reason]


def test_second_death_is_handed_over() -> None:
    failures = Failures()
    with executor() as ex:
        results = ex.run([task("bad", "die", signal="SIGKILL"), task("good", "square", x=3)], on_failure=failures.take)
    assert list(results) == ["good"]
    assert failures[0].attempts == 2
    assert "failed 2 times" in failures[0].reason


def test_time_out_stops_only_the_late_task(tmp_path: Path) -> None:
    """Many short tasks end while the late one is given its grace: none of their results may be lost."""
    failures = Failures()
    cleaned = tmp_path / "cleaned"
    late = task("late", "sleep", begun=str(tmp_path / "begun"), cleaned=str(cleaned))
    with executor(2, timeout_s=0.5) as ex:
        results = ex.run([late, *(task(f"t{x}", "square", x=x) for x in range(60))], on_failure=failures.take)
    assert [f.name for f in failures] == ["late"]
    assert "task late was stopped after" in failures[0].reason
    assert len(results) == 60
    assert cleaned.exists()


def test_cancelled_tasks_stop_or_never_start(tmp_path: Path) -> None:
    failures = Failures()
    begun = {name: tmp_path / f"{name}.begun" for name in ("runs", "waits")}
    sleepers = [task(n, "sleep", begun=str(b), cleaned=str(tmp_path / f"{n}.cleaned")) for n, b in begun.items()]
    with LocalExecutor(policy=SerialPolicy(), memory_bytes=MB * 100, workers=1, preload=()) as ex:

        def on_failure(task: Task, failure: TaskFailure) -> None:
            failures.take(task, failure)

        def on_result(task: Task, _: object) -> None:
            if task.name == "first":
                ex.cancel(["waits", "runs"])

        results = ex.run([task("first", "square", x=1), *sleepers, task("last", "square", x=2)], on_result, on_failure)
    assert list(results) == ["first", "last"]
    assert sorted(f.reason for f in failures) == ["task runs was cancelled", "task waits was cancelled"]
    assert not begun["waits"].exists()


def test_running_task_is_cancelled_from_another_thread(tmp_path: Path) -> None:
    import threading

    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    with executor(1) as ex:

        def cancel_when_begun() -> None:
            while not begun.exists():
                time.sleep(0.01)
            ex.cancel(["long"])

        thread = threading.Thread(target=cancel_when_begun)
        thread.start()
        with pytest.raises(TaskError, match="task long was cancelled"):
            ex.run([task("long", "sleep", begun=str(begun), cleaned=str(cleaned))])
        thread.join()
        assert ex.run([task("next", "square", x=2)])["next"].value["square"] == 4
    assert cleaned.exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_tasks_start_when_they_arrive(workers: int) -> None:
    with executor(workers) as ex:
        ex.run([task("first", "square", x=0)])  # the server of workers takes a moment to start
        results = ex.run([task("later", "square", x=1, arrives_s=0.3), task("now", "square", x=2)])
    later, now = results["later"], results["now"]
    assert later.submitted_s - now.submitted_s == pytest.approx(0.3, abs=1e-6)
    assert now.started_s < later.submitted_s <= later.started_s


class ScriptedWorkers:
    """Workers whose devices die as a script says; every other attempt succeeds at once."""

    def __init__(self, deaths: Sequence[int], *, lost: Sequence[int] = ()) -> None:
        self.deaths, self.lost, self.started = list(deaths), set(lost), list[tuple[str, int, int]]()
        self.events: list[Event] = []

    def start(self, attempt: int, task: Task, device: int) -> None:
        self.started.append((task.name, device, task.memory_bytes))
        self.events.append(Started(id=attempt, at_s=time.monotonic()))
        dies = bool(self.deaths) and device == self.deaths[0]
        if dies:
            self.deaths.pop(0)
            if device in self.lost:
                self.events.append(DeviceLost(device=device))
        reply = None if dies else {"value": {"device": device}}
        ended = Ended(
            id=attempt, at_s=time.monotonic(), reply=reply, status=0, peak_bytes=0, shared_bytes=0, device_lost=dies
        )
        self.events.append(ended)

    def wait(self, timeout_s: float | None) -> Sequence[Event]:
        del timeout_s
        told, self.events = self.events, []
        return told

    def held(self) -> Mapping[int, int]:
        return {}

    def stop(self, attempts: object) -> None:
        del attempts
        self.events.clear()

    def close(self) -> None:
        pass


def dispatcher(workers: ScriptedWorkers, *memory_bytes: int) -> Dispatcher:
    devices = tuple(Device(memory_bytes=m, cores=4, name=f"node {i}") for i, m in enumerate(memory_bytes))
    machine = Machine(devices=devices)
    return Dispatcher(policy=KnapsackPolicy(), machine=machine, workers=workers, on_event=None, timeout_s=None)


def test_tasks_of_a_lost_device_run_elsewhere_with_the_same_reservation() -> None:
    workers = ScriptedWorkers([0], lost=[0])
    results = dispatcher(workers, 20 * MB, 100 * MB).run([task("a", "x"), task("b", "x")], None, None)
    assert [r.value["device"] for r in results.values()] == [1, 1]
    assert max(r.attempts for r in results.values()) == 2
    assert {memory for _, _, memory in workers.started} == {10 * MB}
    assert [device for _, device, _ in workers.started].count(0) >= 1


def test_task_that_only_fitted_the_lost_device_is_reported() -> None:
    workers, failures = ScriptedWorkers([1], lost=[1]), Failures()
    tasks = [task("large", "x", memory_bytes=90 * MB), task("small", "x")]
    results = dispatcher(workers, 20 * MB, 100 * MB).run(tasks, None, failures.take)
    assert list(results) == ["small"]
    assert "fits on none of the 1 devices left" in failures[0].reason


def test_task_that_takes_every_device_down_is_given_up() -> None:
    workers, failures = ScriptedWorkers([0] * 100), Failures()
    dispatcher(workers, 20 * MB).run([task("cursed", "x")], None, failures.take)
    assert failures[0].attempts == MOST_LOSSES + 1
    assert len(workers.started) == MOST_LOSSES + 1


def test_several_devices_hold_what_one_could_not() -> None:
    """Two devices of 15 MB run two tasks of 10 MB at the same time; slots are numbered through."""
    gpus = [Device(memory_bytes=15 * MB, cores=1, name=f"part {i}") for i in range(2)]
    with executor(2, gpus=gpus) as ex:
        results = ex.run([task(f"t{x}", "square", x=x) for x in range(6)])
    assert {r.worker for r in results.values()} == {0, 1}
    for slot in (0, 1):
        in_time = sorted((r for r in results.values() if r.worker == slot), key=lambda r: r.started_s)
        assert all(a.ended_s <= b.started_s for a, b in itertools.pairwise(in_time))


def test_worker_sees_the_gpu_it_was_given() -> None:
    """Also on a machine without any: the variable is set before CUDA would start."""
    gpus = [Device(memory_bytes=15 * MB, cores=1, name="GPU 3", gpu=3)]
    with executor(1, gpus=gpus) as ex:
        assert ex.run([task("t", "whereabouts")])["t"].value == {"visible": "3"}
