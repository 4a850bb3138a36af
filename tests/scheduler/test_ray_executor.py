"""Tasks on a Ray cluster of two nodes, all on this machine's loopback."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.scheduler.executor import Executor, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.lookahead import LookaheadPolicy
from nestevo_hw.scheduler.task import Task, TaskFailure

pytestmark = [
    pytest.mark.ray,
    # Ray's own: sockets and log files that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
pytest.importorskip("ray")

from ray_cluster import DOOMED, HEAD, NODE, OTHER, two_nodes  # noqa: E402

from nestevo_hw.scheduler.ray.executor import RayExecutor  # noqa: E402

MB = 10**6


def task(name: str, chore: str, *, memory_bytes: int = 10 * MB, cores: int = 1, **payload: Any) -> Task:
    return Task(
        name=name,
        function=f"chores:{chore}",
        payload=payload,
        memory_bytes=memory_bytes,
        duration_s=1.0,
        cores=cores,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def executor(cluster: Any) -> Iterator[RayExecutor]:
    """It holds the connection, which executors that tests open besides share."""
    with RayExecutor(policy=LookaheadPolicy(), address=cluster.address) as executor:
        yield executor


def test_results_are_those_of_the_local_executor(executor: RayExecutor) -> None:
    tasks = [task(f"t{x}", "square", x=x) for x in range(9)]
    everywhere: Executor = executor
    results = everywhere.run(tasks)
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=100 * MB, workers=0) as local:
        expected = local.run(tasks)
    assert {n: r.value["square"] for n, r in results.items()} == {n: r.value["square"] for n, r in expected.items()}
    assert all(r.value["threads"] == "1" for r in results.values())
    assert all(0.0 <= r.submitted_s <= r.started_s <= r.ended_s for r in results.values())


def test_both_nodes_work_at_the_same_time(executor: RayExecutor, tmp_path: Path) -> None:
    """400 of 500 MB each: two tasks that wait for one another can only be on different nodes."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    results = executor.run(
        [
            task("one", "meet", memory_bytes=400 * MB, here=one, other=two),
            task("two", "meet", memory_bytes=400 * MB, here=two, other=one),
        ]
    )
    assert {r.worker for r in results.values()} == {0, 2}


def test_failures_are_handed_over(executor: RayExecutor) -> None:
    failures: dict[str, TaskFailure] = {}
    tasks = [
        task("raises", "fail", message="no such frame"),
        task("dies", "die", signal="SIGKILL"),
        task("fills", "run_out_of_memory"),
        task("good", "square", x=4),
    ]
    results = executor.run(tasks, on_failure=lambda task, failure: failures.update({task.name: failure}))
    assert list(results) == ["good"]
    assert failures["raises"].reason == "task raises failed: ValueError: no such frame"
    assert "chores.py" in failures["raises"].traceback
    assert failures["dies"].attempts == failures["fills"].attempts == 2
    assert "ran out of memory: no room" in failures["fills"].reason


def test_without_a_taker_a_failure_ends_the_run(executor: RayExecutor) -> None:
    with pytest.raises(TaskError, match="task bad failed: ValueError: boom"):
        executor.run([task("bad", "fail", message="boom"), *(task(f"n{i}", "nap", seconds=0.2) for i in range(3))])
    assert executor.run([task("next", "square", x=3)])["next"].value["square"] == 9


def test_peak_memory_is_of_the_task(executor: RayExecutor) -> None:
    results = executor.run([task("large", "allocate", bytes=120 * MB), task("small", "allocate", bytes=MB)])
    difference = results["large"].peak_memory_bytes - results["small"].peak_memory_bytes
    assert difference == pytest.approx(119 * MB, rel=0.15)


def test_cancel(executor: RayExecutor) -> None:
    failures: list[TaskFailure] = []
    timer = threading.Timer(1.0, lambda: executor.cancel(["long"]))
    timer.start()
    started = time.monotonic()
    executor.run([task("long", "nap", seconds=60.0)], on_failure=lambda _, failure: failures.append(failure))
    timer.join()
    assert time.monotonic() - started < 30.0
    assert [f.reason for f in failures] == ["task long was cancelled"]


@pytest.mark.usefixtures("executor")
def test_files_move_through_the_object_store(cluster: Any, tmp_path: Path) -> None:
    """The nodes see copies, so this works without a shared folder; a second task reads what the first has written."""
    folder = tmp_path / "run"
    folder.mkdir()
    source, middle, target = folder / "source.txt", folder / "new" / "middle.txt", folder / "new" / "target.txt"
    source.write_text("ab\n" * 100_000, encoding="utf-8")
    with RayExecutor(policy=KnapsackPolicy(), address=cluster.address, folder=folder) as executor:
        first = executor.run([task("first", "copy_upper", source=str(source), target=str(middle))])["first"]
        assert middle.read_text(encoding="utf-8") == "AB\n" * 100_000
        assert first.value["target"] == str(middle)
        assert bytes.fromhex(first.value["read_from"]).decode() != str(folder)
        middle.write_text("changed since", encoding="utf-8")
        executor.run([task("second", "copy_upper", source=str(middle), target=str(target))])
    assert target.read_text(encoding="utf-8") == "CHANGED SINCE"


@pytest.mark.usefixtures("executor")
def test_gpu_by_memory_share(cluster: Any) -> None:
    """The second node claims one GPU; two halves of its memory run together, and nothing runs on the node without."""
    with RayExecutor(policy=KnapsackPolicy(), address=cluster.address, gpu_memory_bytes=1000 * MB) as executor:
        results = executor.run([task(f"t{x}", "whereabouts", memory_bytes=500 * MB) for x in range(2)])
        with pytest.raises(ConfigError, match=r"predicted to need 2\.00 GB"):
            executor.run([task("huge", "square", memory_bytes=2000 * MB, x=1)])
    assert {r.value["visible"] for r in results.values()} == {"0"}
    assert {r.worker for r in results.values()} == {0, 1}


@pytest.mark.usefixtures("executor")
def test_killed_node_changes_nothing_but_the_time(cluster: Any) -> None:
    doomed = cluster.add_node(**NODE, node_ip_address=DOOMED)
    tasks = [task("first", "square", x=1), *(task(f"n{i}", "nap", seconds=2.0) for i in range(7))]
    retried: list[str] = []

    def kill(task: Task, _: object) -> None:
        if task.name == "first":
            time.sleep(0.5)  # until the others are in their naps, all slots of all nodes
            cluster.remove_node(doomed, allow_graceful=False)

    with RayExecutor(
        policy=KnapsackPolicy(),
        address=cluster.address,
        on_event=lambda event: retried.append(event.message) if event.kind == "retried" else None,
    ) as executor:
        results = executor.run(tasks, on_result=kill)
        again = executor.run([task(f"s{x}", "square", x=x) for x in range(6)])
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=100 * MB, workers=8, preload=()) as local:
        expected = local.run(tasks)
    assert {n: r.value for n, r in results.items() if n != "first"} == {
        n: r.value for n, r in expected.items() if n != "first"
    }
    assert retried
    assert all(message == f"{DOOMED}, on which it ran, is gone" for message in retried)
    assert len(again) == 6
    assert max(r.worker for r in again.values()) <= 3  # slots of the two nodes left


@pytest.mark.usefixtures("executor")
def test_nodes_are_on_loopback() -> None:
    import ray

    alive = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    assert alive <= {HEAD, OTHER, DOOMED}


def test_no_cluster_is_one_clear_line() -> None:
    script = (
        "from nestevo_hw.scheduler.ray.executor import RayExecutor\n"
        "from nestevo_hw.scheduler.knapsack import KnapsackPolicy\n"
        "RayExecutor(policy=KnapsackPolicy(), address='no port here')\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "ConfigError: no Ray cluster at 'no port here'" in result.stderr


LOCAL_DRIVER = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is born deaf to it

from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.ray.executor import RayExecutor
from nestevo_hw.scheduler.task import Task
tasks = [Task(name=f"t{i}", function="chores:sleep", memory_bytes=1, duration_s=1.0,
              payload={"begun": f"begun{i}", "cleaned": f"cleaned{i}"}) for i in range(2)]
with RayExecutor(policy=KnapsackPolicy(), address="local", workers=2) as executor:
    executor.run(tasks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_leaves_no_process_of_a_local_cluster(tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(LOCAL_DRIVER)
    here = Path(__file__).parent
    mark = str(tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])]),
        "NESTEVO_TEST_MARK": mark,
    }
    with subprocess.Popen(
        [sys.executable, "driver.py"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        deadline = time.monotonic() + 60.0
        while not (tmp_path / "begun0").exists() or not (tmp_path / "begun1").exists():
            assert time.monotonic() < deadline
            assert driver.poll() is None
            time.sleep(0.05)
        assert len(_processes_with(mark)) > 3  # driver, Ray's daemons and workers
        driver.send_signal(signal.SIGINT)
        driver.communicate(timeout=60.0)
    deadline = time.monotonic() + 30.0
    while left := _processes_with(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


LISTENING = """
from pathlib import Path
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.ray.executor import RayExecutor
from nestevo_hw.scheduler.task import Task

def listening():
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()]
    return {fields[1] for fields in lines if fields[3] == "0A"}

before = listening()
with RayExecutor(policy=KnapsackPolicy(), address="local", workers=1) as executor:
    executor.run([Task(name="t", function="chores:chatter", payload={"length": 1}, memory_bytes=1, duration_s=1.0)])
    print(*sorted(address.split(":")[0] for address in listening() - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_cluster_of_this_machine_listens_on_loopback_alone(tmp_path: Path) -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    told = subprocess.run(
        [sys.executable, "-c", LISTENING], cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert set(told.stdout.split()) == {"0100007F", "0000000000000000FFFF00000100007F"}


def _processes_with(mark: str) -> list[int]:
    """Living processes that have inherited the driver's mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it ended while we looked
            continue
    return found
