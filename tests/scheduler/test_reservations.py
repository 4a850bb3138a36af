"""Tasks that take more memory than they reserved: real processes that touch real pages."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nestevo_hw.base.memory import MachineMemory
from nestevo_hw.scheduler.attempts import TaskEvent
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.executor import LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.reservations import exceeds, is_short
from nestevo_hw.scheduler.task import Task, TaskFailure

MB = 10**6
PLENTY = MachineMemory(total_bytes=16 * 10**9, available_bytes=8 * 10**9)
SHORT = MachineMemory(total_bytes=16 * 10**9, available_bytes=10**8)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def task(name: str, chore: str, *, memory_bytes: int = 10 * MB, **payload: Any) -> Task:
    return Task(
        name=name, function=f"chores:{chore}", payload=payload, memory_bytes=memory_bytes, duration_s=1.0
    )  # fmt: skip


def holding(name: str, folder: Path, size: int, *, memory_bytes: int = 10 * MB, until: str = "released") -> Task:
    holds, release = folder / f"{name}.holds", folder / until
    return task(name, "hold", memory_bytes=memory_bytes, bytes=size, holds=str(holds), until=str(release))


def executor(events: list[TaskEvent], look: Callable[[], MachineMemory | None] | None, **more: Any) -> LocalExecutor:
    common: dict[str, Any] = {"policy": KnapsackPolicy(), "memory_bytes": 1000 * MB, "workers": 2, "preload": ()}
    return LocalExecutor(**common, **more, on_event=events.append, look=look)


def test_a_tenth_or_32_mb_more_is_no_excess() -> None:
    assert not exceeds(74 * MB, 10 * MB)
    assert exceeds(75 * MB, 10 * MB)
    assert not exceeds(1100 * MB, 1000 * MB)
    assert exceeds(1101 * MB, 1000 * MB)


@pytest.mark.parametrize(("total", "floor"), [(2 * 10**9, 256 * MB), (10 * 10**9, 500 * MB), (100 * 10**9, 1000 * MB)])
def test_floor_is_a_twentieth_within_bounds(total: int, floor: int) -> None:
    assert is_short(MachineMemory(total_bytes=total, available_bytes=floor - 1))
    assert not is_short(MachineMemory(total_bytes=total, available_bytes=floor))


@linux
def test_excess_is_told_once_while_the_task_runs(tmp_path: Path) -> None:
    events: list[TaskEvent] = []
    release = tmp_path / "released"

    def look() -> MachineMemory:
        release.touch()  # asked only once somebody has gone beyond: now it may end
        return PLENTY

    with executor(events, look) as ex:
        results = ex.run([holding("greedy", tmp_path, 90 * MB), task("modest", "square", x=2)])
    assert [e.kind for e in events if e.task.name == "greedy"] == ["started", "exceeded", "ended"]
    (told,) = [e.message for e in events if e.kind == "exceeded"]
    assert re.fullmatch(r"task greedy takes 0\.0[4-9] GB of memory but reserved 0\.01 GB", told)
    excess = results["greedy"].excess
    assert excess is not None
    assert (excess.reserved_bytes, excess.stopped) == (10 * MB, False)
    assert excess.peak_bytes == pytest.approx(90 * MB, abs=4 * MB)
    assert results["greedy"].peak_memory_bytes == pytest.approx(90 * MB, abs=4 * MB)
    assert results["modest"].excess is None


@linux
def test_short_task_is_told_of_at_its_end() -> None:
    events: list[TaskEvent] = []
    with executor(events, lambda: PLENTY) as ex:
        result = ex.run([task("quick", "allocate", bytes=90 * MB)])["quick"]
    assert [e.kind for e in events] == ["started", "exceeded", "ended"]
    assert result.excess is not None


@linux
def test_memory_shared_with_the_server_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server holds 80 MB: a worker has them in memory and does not take them, until it writes to them."""
    (tmp_path / "heavy_library.py").write_text(f"block = bytearray(b'x' * {80 * MB})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with LocalExecutor(
        policy=KnapsackPolicy(), memory_bytes=1000 * MB, workers=1, preload=["heavy_library"], look=lambda: PLENTY
    ) as ex:
        result = ex.run([task("light", "square", x=2)])["light"]
    assert result.shared_memory_bytes > 80 * MB
    assert result.peak_memory_bytes < 4 * MB
    assert result.excess is None


@linux
def test_the_worst_is_stopped_and_runs_again_alone(tmp_path: Path) -> None:
    """Two exceed; the one that does so by more goes, though the other holds more, and returns when nothing runs."""
    events: list[TaskEvent] = []
    looks = 0

    def look() -> MachineMemory:
        nonlocal looks
        both = (tmp_path / "large.holds").exists() and (tmp_path / "greedy.holds").exists()
        looks += both
        if looks > 1:
            (tmp_path / "released").touch()
        return SHORT if both and looks == 2 else PLENTY

    large = holding("large", tmp_path, 190 * MB, memory_bytes=120 * MB)
    with executor(events, look) as ex:
        results = ex.run([large, holding("greedy", tmp_path, 90 * MB)])
    retried = next(e for e in events if e.kind == "retried")
    assert retried.task.name == "greedy"
    assert retried.task.memory_bytes == 1000 * MB
    assert "it was stopped as the machine had only 0.10 GB of memory left" in retried.message
    greedy = results["greedy"]
    assert (greedy.attempts, greedy.value) == (2, {"length": 90 * MB})
    assert greedy.excess is not None
    assert greedy.excess.stopped
    assert greedy.excess.reserved_bytes == 10 * MB
    assert greedy.started_s >= results["large"].ended_s


@linux
def test_the_second_time_it_fails_with_the_reason(tmp_path: Path) -> None:
    events: list[TaskEvent] = []
    failures: list[TaskFailure] = []
    with executor(events, lambda: SHORT) as ex:
        results = ex.run(
            [holding("greedy", tmp_path, 90 * MB), task("modest", "square", x=2)],
            on_failure=lambda _, failure: failures.append(failure),
        )
    assert list(results) == ["modest"]
    (failure,) = failures
    assert re.fullmatch(
        r"task greedy failed 2 times; the last time it was stopped as the machine had only 0\.10 GB of memory left "
        r"\(1\.00 GB reserved, 0\.0[4-9] GB taken\); use fewer workers, .* or a machine with more memory",
        failure.reason,
    )
    assert failure.attempts == 2
    assert failure.excess is not None
    assert failure.excess.stopped
    assert [e.kind for e in events if e.task.name == "greedy"] == [
        "started", "exceeded", "retried", "started", "failed"
    ]  # fmt: skip


@linux
def test_who_keeps_to_a_reservation_is_left_alone(tmp_path: Path) -> None:
    """Whoever takes the memory then, stopping this task is not the scheduler's to do."""
    events: list[TaskEvent] = []
    with executor(events, lambda: SHORT) as ex:
        ex.run([task("modest", "allocate", bytes=60 * MB, memory_bytes=80 * MB)])
    assert [e.kind for e in events] == ["started", "ended"]


@linux
@pytest.mark.parametrize("gpus", [(), (Device(memory_bytes=100 * MB, cores=1, name="GPU 0", gpu=0),)])
def test_main_memory_says_nothing_of_a_gpus_reservation(gpus: tuple[Device, ...]) -> None:
    events: list[TaskEvent] = []
    look = (lambda: SHORT) if gpus else None
    with executor(events, look, gpus=gpus) as ex:
        result = ex.run([task("greedy", "allocate", bytes=90 * MB)])["greedy"]
    assert [e.kind for e in events] == ["started", "ended"]
    assert result.excess is None
