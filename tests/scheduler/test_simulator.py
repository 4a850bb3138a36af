import json
import math
import random
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.commands.schedule import schedule
from nestevo_hw.scheduler.comparison import compare_policies
from nestevo_hw.scheduler.devices import Device
from nestevo_hw.scheduler.knapsack import MIB
from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.policies import POLICIES, WITHOUT_GAINS, policy_named
from nestevo_hw.scheduler.simulator import Reality, simulate
from nestevo_hw.scheduler.task import Task
from nestevo_hw.scheduler.tasklist import read_tasks


def task(name: str, memory_mib: float, duration_s: float, cores: int = 1) -> Task:
    return Task(
        name=name,
        function="builtins:dict",
        payload={},
        memory_bytes=round(memory_mib * MIB),
        duration_s=duration_s,
        cores=cores,
    )


task_lists = st.lists(
    st.tuples(st.floats(0, 16), st.floats(0.1, 100.0), st.integers(1, 3)), min_size=1, max_size=12
).map(lambda needs: [task(f"t{i}", *need) for i, need in enumerate(needs)])


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None)
@given(tasks=task_lists)
def test_every_task_runs_once_and_never_too_much_at_a_time(name: str, tasks: list[Task]) -> None:
    machine = Machine.single(16 * MIB, 3)
    plan = simulate(tasks, policy_named(name), machine)
    assert sorted(p.task.name for p in plan.tasks) == sorted(t.name for t in tasks)
    for moment in {p.started_s for p in plan.tasks}:
        now = [p for p in plan.tasks if p.started_s <= moment < p.ended_s]
        assert sum(p.task.memory_bytes for p in now) <= 16 * MIB
        assert sum(p.task.cores for p in now) <= 3
        assert len({p.worker for p in now}) == len(now)
    assert all(p.ended_s - p.started_s == pytest.approx(p.task.duration_s) for p in plan.tasks)
    longest = max(t.duration_s for t in tasks)
    assert longest <= plan.makespan_s <= sum(t.duration_s for t in tasks) * (1 + 1e-9)


def test_worked_example() -> None:
    """By hand, 4 MiB and two slots: knapsack starts c (1/12) with d (1/50): 3.9 MiB, the highest value that fits."""
    tasks = [task("a", 1.5, 30.0), task("b", 2.0, 22.0), task("c", 3.0, 12.0), task("d", 0.9, 50.0)]
    machine = Machine.single(4 * MIB, 2)
    plan = simulate(tasks, policy_named("knapsack"), machine)
    assert {p.task.name: (p.started_s, p.ended_s, p.worker) for p in plan.tasks} == {
        "c": (0.0, 12.0, 0),
        "d": (0.0, 50.0, 1),
        "b": (12.0, 34.0, 0),
        "a": (34.0, 64.0, 0),
    }
    assert (plan.mean_wait_s, plan.mean_turnaround_s, plan.makespan_s) == (11.5, 40.0, 64.0)
    serial = simulate(tasks, policy_named("serial"), machine)
    assert serial.mean_wait_s == (0 + 30 + 52 + 64) / 4
    assert serial.makespan_s == 114.0


def test_knapsack_waits_least_on_the_whole() -> None:
    tasks = [task(f"t{i}", 2 + i % 3 * 3, 5.0 + 17.0 * (i * 7 % 11)) for i in range(11)]
    knapsack, random, serial, *_ = compare_policies(tasks, Machine.single(10 * MIB, 4))
    assert knapsack.mean_wait_s < random.mean_wait_s < serial.mean_wait_s
    assert (knapsack.draws, random.draws, serial.draws) == (1, 100, 1)


@pytest.mark.parametrize(("name", "like"), WITHOUT_GAINS.items())
def test_policies_that_heed_gains_are_others_where_there_are_none(name: str, like: str) -> None:
    draw = random.Random(3)
    tasks = [task(f"t{k}", draw.uniform(100, 3000), draw.lognormvariate(3, 1)) for k in range(30)]
    machine = Machine.single(4000 * MIB, 4)
    assert simulate(tasks, policy_named(name), machine) == simulate(tasks, policy_named(like), machine)
    gained = [replace(t, expected_gain=draw.random()) for t in tasks]
    assert simulate(gained, policy_named(name), machine) != simulate(gained, policy_named(like), machine)


def test_arrivals_by_hand() -> None:
    """Serial, in order of arrival: a 0 to 10, b (there at 3) 10 to 15, c (there at 20) at once."""
    tasks = [task("a", 1, 10.0), replace(task("b", 1, 5.0), arrives_s=3.0), replace(task("c", 1, 1.0), arrives_s=20.0)]
    plan = simulate(tasks[::-1], policy_named("serial"), Machine.single(4 * MIB, 2))
    assert [(p.task.name, p.started_s, p.wait_s) for p in plan.tasks] == [("a", 0, 0), ("b", 10, 7), ("c", 20, 0)]
    assert plan.longest_wait_s == 7.0
    assert plan.mean_turnaround_s == (10 + 12 + 1) / 3


def test_contention_by_hand() -> None:
    """Half as slow again beside another: a has 10 s of work, b 20; together until a ends at 15, b ends 10 s later."""
    tasks = [task("a", 1, 10.0), task("b", 1, 20.0)]
    plan = simulate(tasks, policy_named("backfill"), Machine.single(4 * MIB, 2), Reality(contention=0.5))
    assert {p.task.name: p.ended_s for p in plan.tasks} == {"a": 15.0, "b": 25.0}


def test_devices_do_not_contend() -> None:
    devices = (Device(memory_bytes=2 * MIB, cores=1), Device(memory_bytes=2 * MIB, cores=1))
    plan = simulate([task("a", 1, 10.0), task("b", 1, 10.0)], policy_named("knapsack"), Machine(devices=devices),
                    Reality(contention=0.5))  # fmt: skip
    assert [p.ended_s for p in plan.tasks] == [10.0, 10.0]


def test_errors_have_the_spread_that_is_asked_for() -> None:
    """Mean and standard deviation of ln(true / predicted) over 4000 tasks, within four standard errors."""
    reality, count = Reality(duration_error=0.5, memory_error=0.2, seed=3), 4000
    tasks = [task(f"t{i}", 100, 7.0) for i in range(count)]
    for sigma, logs in (
        (0.5, [math.log(reality.work_s(t) / t.duration_s) for t in tasks]),
        (0.2, [math.log(reality.peak_bytes(t) / t.memory_bytes) for t in tasks]),
    ):
        assert statistics.fmean(logs) == pytest.approx(0.0, abs=4 * sigma / count**0.5)
        assert statistics.stdev(logs) == pytest.approx(sigma, abs=4 * sigma / (2 * count) ** 0.5)


def test_too_small_a_reservation_costs_half_a_run() -> None:
    """By hand: the first attempt fails at 5 of 10 s; the second, with twice the memory or more, runs from 5 to 15."""
    seed = next(s for s in range(100) if Reality(memory_error=0.5, seed=s).peak_bytes(task("a", 1, 10.0)) > MIB)
    plan = simulate(
        [task("a", 1, 10.0)], policy_named("knapsack"), Machine.single(8 * MIB, 1), Reality(memory_error=0.5, seed=seed)
    )
    (planned,) = plan.tasks
    assert (planned.attempts, planned.started_s, planned.ended_s) == (2, 5.0, 15.0)


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None, max_examples=30)
@given(
    tasks=task_lists,
    duration_error=st.floats(0.0, 1.0),
    memory_error=st.floats(0.0, 0.5),
    contention=st.floats(0.0, 0.5),
)
def test_every_task_ends_whatever_happens(
    name: str, tasks: list[Task], duration_error: float, memory_error: float, contention: float
) -> None:
    reality = Reality(duration_error=duration_error, memory_error=memory_error, contention=contention)
    devices = (Device(memory_bytes=16 * MIB, cores=3), Device(memory_bytes=6 * MIB, cores=1))
    plan = simulate(tasks, policy_named(name), Machine(devices=devices), reality)
    assert sorted(p.task.name for p in plan.tasks) == sorted(t.name for t in tasks)
    for p in plan.tasks:
        assert p.ended_s - p.started_s >= reality.work_s(p.task) * (1 - 1e-9)


def test_impossible_task() -> None:
    with pytest.raises(ConfigError, match="'huge' is predicted to need"):
        simulate([task("huge", 5, 1.0)], policy_named("serial"), Machine.single(4 * MIB, 1))


def test_command_follows_its_contract(tmp_path: Path) -> None:
    path, picture = tmp_path / "tasks.json", tmp_path / "plan.png"
    path.write_text(json.dumps([{"name": n, "memory_gb": 1.0, "duration_s": 2.0} for n in ("a", "b", "c")]))
    result = CliRunner().invoke(schedule, [str(path), "--workers", "2", "--plot", str(picture), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [p["name"] for p in document["policies"]] == list(POLICIES)
    knapsack = document["policies"][0]
    assert knapsack["makespan_s"] == 4.0
    assert knapsack["mean_wait_s"] == pytest.approx(2 / 3)
    assert knapsack["mean_turnaround_s"] == pytest.approx(8 / 3)
    assert {p["name"] for p in document["plan"]} == {"a", "b", "c"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    spoken = CliRunner().invoke(schedule, [str(path), "--policy", "serial"])
    assert "Plan of serial" in spoken.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not valid JSON"),
        ("[]", "holds no tasks"),
        ('{"name": "a"}', "top level: expected a list"),
        (
            '[{"name": "a", "memory_gb": 1, "duration_s": 1}, {"name": "a", "memory_gb": 2, "duration_s": 1}]',
            "holds two tasks called 'a'; give each its own name",
        ),
        (
            '[{"name": "a", "memory_gb": 1}]',
            r" \[0\]\.duration_s: field required; see `nestevo-hw",
        ),
        (
            '[{"name": "a", "memory_gb": 1, "duration_s": 0}]',
            r" \[0\]\.duration_s: input .* number above 0 .* \(got 0\)",
        ),
        (
            '[{"name": "a", "memory_gb": 1, "duration_s": 1, "gpu": 1}]',
            r" \[0\]\.gpu: there is no such key \(got 1\)",
        ),
    ],
)
def test_bad_task_lists(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_tasks(path)
    result = CliRunner().invoke(schedule, [str(path)])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {path}")


def test_missing_task_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*none\.json; see `nestevo-hw schedule --help`"):
        read_tasks(tmp_path / "none.json")
