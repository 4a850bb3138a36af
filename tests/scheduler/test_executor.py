import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.scheduler.baselines import SerialPolicy
from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD, LocalExecutor, TaskEvent
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.machine import Policy
from nestevo_hw.scheduler.task import Task

MB = 10**6
HERE = Path(__file__).parent
PATIENCE_S = 30.0


def task(name: str, chore: str, *, memory_bytes: int = 10 * MB, cores: int = 1, **payload: Any) -> Task:
    return Task(
        name=name,
        function=f"chores:{chore}",
        payload=payload,
        memory_bytes=memory_bytes,
        duration_s=1.0,
        cores=cores,
    )


def executor(
    workers: int = 2, *, policy: Policy | None = None, memory_bytes: int = 1000 * MB, **more: Any
) -> LocalExecutor:
    policy = policy or KnapsackPolicy()
    return LocalExecutor(policy=policy, memory_bytes=memory_bytes, workers=workers, preload=(), **more)


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalExecutor]:
    with executor() as shared:
        yield shared


def parents() -> dict[int, int]:
    """Parent of every living process of the machine."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if fields[0] != "Z":
            found[int(status.parent.name)] = int(fields[1])
    return found


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_do_not_depend_on_workers(workers: int) -> None:
    tasks = [task(f"t{x}", "square", x=x) for x in range(7)]
    with executor(workers) as ex:
        results = ex.run(tasks)
    assert [(name, result.value["square"]) for name, result in results.items()] == [(f"t{x}", x * x) for x in range(7)]


def test_each_task_has_a_fresh_single_threaded_process(shared: LocalExecutor) -> None:
    results = shared.run([task("a", "identify"), task("b", "identify"), task("c", "square", x=1)])
    a, b = results["a"].value, results["b"].value
    assert len({a["pid"], b["pid"], os.getpid()}) == 3
    assert a["parent"] == b["parent"] != os.getpid()
    assert a["main"].endswith("nestevo_hw/scheduler/forkserver.py")
    assert results["c"].value["threads"] == "1"


def test_tasks_really_run_at_the_same_time(shared: LocalExecutor, tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    results = shared.run([task("one", "meet", here=one, other=two), task("two", "meet", here=two, other=one)])
    a, b = results["one"], results["two"]
    assert max(a.started_s, b.started_s) < min(a.ended_s, b.ended_s)
    assert {a.worker, b.worker} == {0, 1}


@pytest.mark.parametrize(
    ("policy", "memory_bytes"), [(SerialPolicy(), 1000 * MB), (KnapsackPolicy(), 15 * MB)], ids=["serial", "no memory"]
)
def test_tasks_take_turns_when_they_must(policy: Policy, memory_bytes: int) -> None:
    with executor(3, policy=policy, memory_bytes=memory_bytes) as ex:
        results = ex.run([task(f"t{x}", "square", x=x) for x in range(4)])
    in_time = sorted(results.values(), key=lambda r: r.started_s)
    assert all(a.ended_s <= b.started_s for a, b in itertools.pairwise(in_time))
    assert all(0.0 <= r.submitted_s <= r.started_s <= r.ended_s for r in in_time)


def test_task_with_two_cores_waits_for_both(shared: LocalExecutor) -> None:
    results = shared.run([task("a", "square", x=1), task("wide", "square", x=2, cores=2), task("b", "square", x=3)])
    wide = results.pop("wide")
    assert all(r.ended_s <= wide.started_s or wide.ended_s <= r.started_s for r in results.values())


def test_peak_memory_counts_what_the_task_touched(shared: LocalExecutor) -> None:
    small, large = 20 * MB, 120 * MB
    results = shared.run([task("small", "allocate", bytes=small), task("large", "allocate", bytes=large)])
    assert results["small"].peak_memory_bytes == pytest.approx(small, abs=2 * MB)
    assert results["large"].peak_memory_bytes == pytest.approx(large, abs=2 * MB)
    assert results["small"].shared_memory_bytes > 5 * MB  # Python itself


def test_results_are_told_as_they_come(shared: LocalExecutor) -> None:
    told = []
    tasks = [task(f"t{x}", "square", x=x) for x in range(5)]
    results = shared.run(tasks, on_result=lambda task, result: told.append((task, result)))
    assert sorted(told, key=lambda pair: pair[0].name) == [(t, results[t.name]) for t in tasks]


def test_large_values_and_stray_prints(shared: LocalExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    results = shared.run([task(f"t{x}", "chatter", length=3 * MB, filler="y" * MB) for x in range(3)])
    assert all(len(r.value["text"]) == 3 * MB for r in results.values())
    assert capfd.readouterr().out == ""  # standard output belongs to the command's JSON document


@pytest.mark.parametrize("workers", [0, 2])
def test_error_names_the_task_and_keeps_the_traceback(workers: int) -> None:
    with executor(workers) as ex:
        with pytest.raises(TaskError, match="task w0/mutual/campus failed: ValueError: no such frame") as caught:
            ex.run([task("w0/mutual/campus", "fail", message="no such frame")])
        assert ex.run([task("next", "square", x=3)])["next"].value["square"] == 9
    assert "chores.py" in caught.value.__notes__[0]


def test_error_ends_the_others_cleanly(shared: LocalExecutor, tmp_path: Path) -> None:
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    with pytest.raises(TaskError, match="boom"):
        shared.run(
            [task("long", "sleep", begun=str(begun), cleaned=str(cleaned)), task("bad", "fail_after", file=str(begun))]
        )
    assert cleaned.exists()
    assert int(begun.read_text()) not in parents()


def test_killed_worker_is_tried_again_with_more_memory(tmp_path: Path) -> None:
    events: list[TaskEvent] = []
    with executor(2, on_event=events.append) as ex:
        told: list[Task] = []
        result = ex.run(
            [task("fragile", "die_once", mark=str(tmp_path / "mark"))], on_result=lambda task, _: told.append(task)
        )["fragile"]
    assert result.attempts == 2
    assert result.value == {"survived": True}
    assert told[0].memory_bytes == 10 * MB
    retried = next(e for e in events if e.kind == "retried")
    assert retried.task.memory_bytes >= 20 * MB
    assert "SIGKILL" in retried.message
    assert [e.kind for e in events] == ["started", "retried", "started", "ended"]


@pytest.mark.parametrize(
    ("chore", "payload", "message"),
    [
        ("die", {"signal": "SIGKILL"}, r"task bad failed 2 times.*SIGKILL.*more memory"),
        ("die", {"signal": "SIGABRT"}, r"task bad failed 2 times.*SIGABRT.*workers = 0"),
        ("run_out_of_memory", {}, r"task bad failed 2 times.*ran out of memory: no room.*fewer workers"),
        ("return_a_list", {}, r"task bad failed: TypeError: chores:return_a_list must return a JSON object, got list"),
        ("nothing", {}, r"task bad failed: AttributeError: .*nothing"),
    ],
)
def test_failures_say_what_happened(shared: LocalExecutor, chore: str, payload: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        shared.run([task("bad", chore, **payload)])


def test_timeout(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    with executor(1, timeout_s=0.3) as ex:
        with pytest.raises(TaskError, match="task slow was stopped after"):
            ex.run([task("slow", "sleep", begun=str(tmp_path / "begun"), cleaned=str(cleaned))])
        assert cleaned.exists()
        assert ex.run([task("next", "square", x=2)])["next"].value["square"] == 4


def test_impossible_tasks_are_refused_before_any_runs(shared: LocalExecutor, tmp_path: Path) -> None:
    mark = tmp_path / "begun"
    first = task("first", "sleep", begun=str(mark), cleaned=str(mark))
    with pytest.raises(ConfigError, match=r"'huge' is predicted to need 2\.00 GB but tasks may use 1\.00 GB"):
        shared.run([first, task("huge", "square", memory_bytes=2000 * MB)])
    with pytest.raises(ConfigError, match="needs 3 cores but there are 2 workers"):
        shared.run([first, task("wide", "square", cores=3)])
    with pytest.raises(ConfigError, match="two tasks are called 'first'"):
        shared.run([first, first])
    assert not mark.exists()


@pytest.mark.parametrize(("workers", "memory_bytes"), [(-1, MB), (2, 0)])
def test_impossible_machines_are_refused(workers: int, memory_bytes: int) -> None:
    with pytest.raises(ConfigError, match=r"workers|memory_bytes"):
        executor(workers, memory_bytes=memory_bytes)


def test_closed_executor_says_so() -> None:
    ex = executor(1)
    ex.close()
    with pytest.raises(TaskError, match="the executor is closed"):
        ex.run([task("late", "square", x=1)])
    ex.close()


def test_missing_preload_is_one_clear_line() -> None:
    with (
        LocalExecutor(policy=SerialPolicy(), memory_bytes=MB, workers=1, preload=["no_such_module"]) as ex,
        pytest.raises(ConfigError, match="workers cannot import no_such_module"),
    ):
        ex.run([task("a", "square", memory_bytes=1, x=1)])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["idle", "finished", "failed"])
def test_close_leaves_no_process(kind: str) -> None:
    before = set(parents())
    with executor(2) as ex:
        if kind == "finished":
            ex.run([task("a", "square", x=1)])
        if kind == "failed":
            with pytest.raises(TaskError):
                ex.run([task("a", "fail", message="x"), task("b", "square", x=1)])
    children = {pid for pid, parent in parents().items() if parent == os.getpid()}
    assert children <= before


DRIVER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is born deaf to it
from nestevo_hw.scheduler.executor import LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.task import Task
tasks = [Task(name=f"t{i}", function="chores:sleep", memory_bytes=1, duration_s=1.0,
              payload={"begun": f"begun{i}", "cleaned": f"cleaned{i}"}) for i in range(2)]
with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=10, workers=2, preload=()) as executor:
    executor.run(tasks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("victim", "signal_number"),
    [
        ("driver", signal.SIGKILL),
        ("driver", signal.SIGTERM),
        ("driver", signal.SIGINT),  # Ctrl-C; the server ignores it, its executor decides
        ("server", signal.SIGKILL),
        ("server", signal.SIGTERM),
    ],
)
def test_no_worker_outlives_the_driver(victim: str, signal_number: int, tmp_path: Path) -> None:
    """The driver is an unguarded script: a worker must not import it again."""
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    with subprocess.Popen(
        [sys.executable, "driver.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as driver:
        begun = [tmp_path / "begun0", tmp_path / "begun1"]
        wait_until(lambda: all(b.exists() and b.read_text() for b in begun))
        sleepers = {int(b.read_text()) for b in begun}
        tree = parents()
        servers = {tree[pid] for pid in sleepers}
        assert servers == {pid for pid, parent in tree.items() if parent == driver.pid}
        ours = sleepers | servers
        if victim == "server":
            os.kill(servers.pop(), signal_number)
        else:
            driver.send_signal(signal_number)
        wait_until(lambda: parents().keys().isdisjoint(ours))
        errors = driver.communicate(timeout=PATIENCE_S)[1]
    if victim == "driver":
        assert (tmp_path / "cleaned0").exists()  # they were asked before they were killed
        assert (tmp_path / "cleaned1").exists()
    else:
        assert "the process that starts workers ended unexpectedly" in errors


IMPORTING = """
import time
from nestevo_hw.scheduler.forked import ForkedWorkers
workers = ForkedWorkers(["slow_to_import"], [])
print(workers._server._process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_server_that_still_imports_notices_that_its_driver_died(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "slow_to_import.py").write_text(f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(60)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(HERE.parents[1])])}
    with subprocess.Popen(
        [sys.executable, "-c", IMPORTING], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        server = int(driver.stdout.readline())
        wait_until(begun.exists)
        assert server in parents()
        driver.kill()
        killed_s = time.monotonic()
        wait_until(lambda: server not in parents())
    assert time.monotonic() - killed_s < 5.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("more", [(), ("nestevo_hw.evolution.steps",)])
def test_what_is_preloaded_starts_no_threads(more: tuple[str, ...]) -> None:
    """A process with threads must not fork; a library that starts one as it is imported shows here."""
    with LocalExecutor(policy=SerialPolicy(), memory_bytes=10, workers=1, preload=(*DEFAULT_PRELOAD, *more)) as ex:
        result = ex.run([task("count", "count_server_threads", memory_bytes=1)])["count"]
    assert result.value["threads"] == 1
