"""Each policy's own promises against independent oracles; what all of them promise is in tests/testing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.scheduler.backfill import BackfillPolicy
from nestevo_hw.scheduler.baselines import RandomParallelPolicy, SerialPolicy
from nestevo_hw.scheduler.devices import Device, DeviceState, Placement, Running
from nestevo_hw.scheduler.knapsack import MIB, KnapsackPolicy, solve_knapsack
from nestevo_hw.scheduler.lifecycle_knapsack import LifecyclePolicy
from nestevo_hw.scheduler.lookahead import LookaheadPolicy
from nestevo_hw.scheduler.machine import Machine, Policy, Queued, Reservation
from nestevo_hw.scheduler.policies import POLICIES, draws_lots, policy_named
from nestevo_hw.scheduler.task import Task


def task(name: str, memory_bytes: int, duration_s: float, cores: int = 1, **more: float) -> Task:
    return Task(
        name=name,
        function="builtins:dict",
        payload={},
        memory_bytes=memory_bytes,
        duration_s=duration_s,
        cores=cores,
        **more,  # type: ignore[arg-type]
    )


def idle(*memory_bytes: int, cores: int = 100) -> list[DeviceState]:
    return [DeviceState(device=Device(memory_bytes=m, cores=cores)) for m in memory_bytes]


def busy(memory_bytes: int, *running: Task, cores: int = 100) -> DeviceState:
    held = tuple(Running(task=t, remaining_s=t.duration_s) for t in running)
    return DeviceState(device=Device(memory_bytes=memory_bytes, cores=cores), running=held)


def names(placements: list[Placement]) -> list[str]:
    return [p.task.name for p in placements]


def best_value(tasks: list[Task], free_bytes: int) -> float:
    """Oracle: every subset, with the memory rounding that the policy documents."""
    capacity = free_bytes // MIB
    return max(
        sum(1.0 / t.duration_s for t in subset)
        for size in range(len(tasks) + 1)
        for subset in itertools.combinations(tasks, size)
        if sum(-(-t.memory_bytes // MIB) for t in subset) <= capacity
    )


plain_lists = st.lists(st.tuples(st.integers(0, 12 * MIB), st.floats(0.1, 1000.0)), max_size=8).map(
    lambda found: [task(f"t{i}", memory, duration) for i, (memory, duration) in enumerate(found)]
)


@given(tasks=plain_lists, free_bytes=st.integers(1, 20 * MIB))
def test_knapsack_finds_the_best_set(tasks: list[Task], free_bytes: int) -> None:
    fitting = [t for t in tasks if t.memory_bytes <= free_bytes]
    chosen = KnapsackPolicy().choose(fitting, idle(free_bytes))
    value = sum(1.0 / p.task.duration_s for p in chosen)
    assert value >= best_value(fitting, free_bytes) * (1 - 1e-9)


@given(items=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=10), capacity=st.integers(0, 60))
def test_knapsack_solver_with_ties_against_every_subset(items: list[tuple[int, int]], capacity: int) -> None:
    """Whole values make many sets equal, where a bound that fixes items too eagerly would show."""
    weights, values = np.array([w for w, _ in items], dtype=np.int64), np.array([float(v) for _, v in items])
    chosen = solve_knapsack(weights, values, capacity)
    assert sum(items[k][0] for k in chosen) <= capacity
    best = max(
        sum(items[k][1] for k in subset)
        for size in range(len(items) + 1)
        for subset in itertools.combinations(range(len(items)), size)
        if sum(items[k][0] for k in subset) <= capacity
    )
    assert sum(items[k][1] for k in chosen) == best


@given(seed=st.integers(0, 10_000), count=st.integers(20, 60))
def test_knapsack_solver_leaves_nothing_out_by_its_bound(seed: int, count: int) -> None:
    """Larger than brute force allows, against the plain dynamic programme over all items."""
    rng = np.random.default_rng(seed)
    weights, values = rng.integers(1, 50, count), rng.random(count)
    capacity = int(weights.sum() // 3)
    best = np.zeros(capacity + 1)
    for w, v in zip(weights.tolist(), values.tolist(), strict=True):
        best[w:] = np.maximum(best[w:], best[: capacity + 1 - w] + v)
    assert values[solve_knapsack(weights, values, capacity)].sum() == pytest.approx(best[-1], rel=1e-12)


def test_knapsack_worked_example() -> None:
    """By hand: the shortest task (value 1/5) blocks the pair of the next two (1/8 + 1/9 > 1/5)."""
    tasks = [task("shortest", 4 * MIB, 5.0), task("pair1", 2 * MIB, 9.0), task("pair2", 2 * MIB, 8.0)]
    assert names(KnapsackPolicy().choose(tasks, idle(4 * MIB))) == ["pair2", "pair1"]  # the more valuable first


@given(tasks=plain_lists, free_bytes=st.integers(12 * MIB, 20 * MIB), time_value=st.floats(0.01, 100.0))
def test_time_value_does_not_change_the_total_value(tasks: list[Task], free_bytes: int, time_value: float) -> None:
    """Scaling all values may only break exact ties differently."""
    chosen = KnapsackPolicy(time_value=time_value).choose(tasks, idle(free_bytes))
    usual = KnapsackPolicy().choose(tasks, idle(free_bytes))
    total = sum(1 / p.task.duration_s for p in usual)
    assert sum(1 / p.task.duration_s for p in chosen) == pytest.approx(total, rel=1e-9)


def test_knapsack_on_a_large_machine_is_exact_and_bounded() -> None:
    tasks = [task(f"t{i}", 10 * MIB, 1.0 + i) for i in range(50)]
    assert len(KnapsackPolicy().choose(tasks, idle(10**15))) == 50


def test_knapsack_fills_the_small_gpu_first() -> None:
    """By hand: the small task goes where only it fits, which leaves the large GPU to the large one."""
    tasks = [task("small", 4 * MIB, 1.0), task("large", 10 * MIB, 50.0)]
    chosen = KnapsackPolicy().choose(tasks, idle(10 * MIB, 5 * MIB))
    assert {(p.task.name, p.device) for p in chosen} == {("small", 1), ("large", 0)}


def test_lifecycle_prefers_the_gain_per_second() -> None:
    """By hand, one fits: 0.10 / 50 s beats 0.01 / 10 s, though it is longer."""
    tasks = [task("short", 8 * MIB, 10.0, expected_gain=0.01), task("useful", 8 * MIB, 50.0, expected_gain=0.10)]
    assert names(LifecyclePolicy().choose(tasks, idle(8 * MIB))) == ["useful"]
    assert names(KnapsackPolicy().choose(tasks, idle(8 * MIB))) == ["short"]


@given(tasks=plain_lists, free_bytes=st.integers(12 * MIB, 20 * MIB))
def test_lifecycle_without_gains_is_algorithm_3(tasks: list[Task], free_bytes: int) -> None:
    assert LifecyclePolicy().choose(tasks, idle(free_bytes)) == KnapsackPolicy().choose(tasks, idle(free_bytes))


def test_backfill_keeps_the_reservation_of_the_first_that_must_wait() -> None:
    """By hand, 10 MiB, 6 of them held for 20 s: b (8) may start then, so c (30 s) must not, d (40 s in 2 MiB) may."""
    device = busy(10 * MIB, task("a", 6 * MIB, 20.0))
    waiting = [task("b", 8 * MIB, 10.0), task("c", 3 * MIB, 30.0), task("d", 2 * MIB, 40.0), task("e", MIB, 19.0)]
    assert names(BackfillPolicy().choose(waiting, [device])) == ["e", "d"]


def test_lookahead_keeps_memory_free_where_waiting_pays() -> None:
    """By hand: x (100 s, 6 MiB) now would hold up y (8 MiB, 5 s), which can start in 1 s, for 99 s."""
    device = busy(10 * MIB, task("running", 4 * MIB, 1.0))
    waiting = [task("x", 6 * MIB, 100.0), task("y", 8 * MIB, 5.0)]
    assert LookaheadPolicy().choose(waiting, [device]) == []
    assert names(KnapsackPolicy().choose(waiting, [device])) == ["x"]


def test_serial_keeps_order_and_runs_one_at_a_time() -> None:
    tasks = [task("long", MIB, 100.0), task("short", MIB, 1.0)]
    assert names(SerialPolicy().choose(tasks, idle(10 * MIB))) == ["long"]
    assert SerialPolicy().choose(tasks, [busy(10 * MIB, task("r", MIB, 1.0))]) == []


def test_random_orders_are_uniform() -> None:
    """Each of three tasks is first in a third of 3000 seeds, within four standard errors of a proportion."""
    tasks = [task(name, MIB, 1.0) for name in ("a", "b", "c")]
    draws = 3000
    firsts = [names(RandomParallelPolicy(seed=s).choose(tasks, idle(3 * MIB)))[0] for s in range(draws)]
    standard_error = (1 / 3 * 2 / 3 / draws) ** 0.5
    for name in ("a", "b", "c"):
        assert firsts.count(name) / draws == pytest.approx(1 / 3, abs=4 * standard_error)


def test_machine_admits_in_the_policy_s_order_while_cores_are_free() -> None:
    machine = Machine.single(10 * MIB, 2)
    tasks = [task("slow", MIB, 9.0), task("quick", MIB, 1.0), task("medium", MIB, 5.0)]
    policy: Policy = KnapsackPolicy()

    def admitted(waiting: list[Task], running: list[Task]) -> list[str]:
        held = [Reservation(task=t, device=0, started_s=0.0) for t in running]
        return names(machine.admit(policy, [Queued(task=t, arrived_s=0.0) for t in waiting], held, 0.5))

    assert admitted(tasks, []) == ["quick", "medium"]
    assert admitted(tasks[:1], tasks[1:]) == []
    wide_first = [task("wide", MIB, 1.0, cores=2), task("quick", MIB, 2.0)]
    assert admitted(wide_first, [tasks[0]]) == []  # quick does not overtake wide for ever


def test_lost_devices_get_nothing() -> None:
    machine = Machine(devices=(Device(memory_bytes=8 * MIB, cores=1), Device(memory_bytes=9 * MIB, cores=1)))
    queue = [Queued(task=task("t", MIB, 1.0), arrived_s=0.0)]
    assert machine.admit(KnapsackPolicy(), queue, [], 0.0, {0}) == [Placement(queue[0].task, 1)]
    assert machine.free_slot(1, set()) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"function": "no_colon"},
        {"function": "__main__:f"},
        {"memory_bytes": -1},
        {"duration_s": 0.0},
        {"duration_s": float("nan")},
        {"cores": 0},
        {"arrives_s": -1.0},
        {"expected_gain": 1.5},
        {"expected_gain": float("nan")},
    ],
)
def test_impossible_tasks_are_refused(bad: dict[str, object]) -> None:
    good: dict[str, object] = {
        "name": "t", "function": "m:f", "payload": {}, "memory_bytes": 1, "duration_s": 1.0, "cores": 1,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="task 't'"):
        Task(**(good | bad))  # type: ignore[arg-type]


def test_names() -> None:
    assert [policy_named(name).name for name in POLICIES] == list(POLICIES)
    assert [name for name in POLICIES if draws_lots(name)] == ["random"]


def test_bad_names_and_units() -> None:
    with pytest.raises(ConfigError, match="unknown policy 'fifo'; choose from knapsack, random, serial, backfill"):
        policy_named("fifo")
    with pytest.raises(ConfigError, match="unit_bytes"):
        KnapsackPolicy(unit_bytes=0)
    with pytest.raises(ConfigError, match="front"):
        LookaheadPolicy(front=0)
    with pytest.raises(ConfigError, match="at least one device"):
        Machine(devices=())
    with pytest.raises(ConfigError, match="patience_s"):
        Machine(devices=(Device(memory_bytes=1, cores=1),), patience_s=-1.0)
