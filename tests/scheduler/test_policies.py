"""One conformance suite for every policy, and Algorithm 3 against brute force."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nestevo_hw.errors import ConfigError
from nestevo_hw.scheduler.policies import (
    MIB,
    POLICIES,
    KnapsackPolicy,
    Machine,
    Policy,
    RandomParallelPolicy,
    SerialPolicy,
    policy_named,
)
from nestevo_hw.scheduler.task import Task


def task(name: str, memory_bytes: int, duration_s: float, cores: int = 1) -> Task:
    return Task(
        name=name,
        function="builtins:dict",
        payload={},
        memory_bytes=memory_bytes,
        duration_s=duration_s,
        cores=cores,
    )


task_lists = st.lists(st.tuples(st.integers(0, 12 * MIB), st.floats(0.1, 1000.0)), min_size=0, max_size=8).map(
    lambda needs: [task(f"t{i}", memory, duration) for i, (memory, duration) in enumerate(needs)]
)
free_memory = st.integers(0, 20 * MIB)


@pytest.mark.parametrize("name", POLICIES)
class TestEveryPolicy:
    @given(tasks=task_lists, free_bytes=free_memory, running=st.integers(0, 3))
    def test_stays_within_free_memory(self, name: str, tasks: list[Task], free_bytes: int, running: int) -> None:
        chosen = policy_named(name, seed=3).choose(tasks, free_bytes, running)
        assert sum(t.memory_bytes for t in chosen) <= free_bytes
        assert len({t.name for t in chosen}) == len(chosen)
        assert all(t in tasks for t in chosen)

    @given(tasks=task_lists, free_bytes=free_memory)
    @example(tasks=[task("odd", 3 * MIB + 7, 1.0)], free_bytes=3 * MIB + 7)
    def test_never_idles_while_something_fits(self, name: str, tasks: list[Task], free_bytes: int) -> None:
        chosen = policy_named(name, seed=3).choose(tasks, free_bytes, 0)
        assert bool(chosen) == any(t.memory_bytes <= free_bytes for t in tasks)

    @given(tasks=task_lists, free_bytes=free_memory, running=st.integers(0, 3))
    def test_is_deterministic_and_leaves_the_queue_alone(
        self, name: str, tasks: list[Task], free_bytes: int, running: int
    ) -> None:
        before = list(tasks)
        first = policy_named(name, seed=3).choose(tasks, free_bytes, running)
        assert policy_named(name, seed=3).choose(tasks, free_bytes, running) == first
        assert tasks == before

    def test_empty_queue(self, name: str) -> None:
        assert policy_named(name).choose([], MIB, 0) == []
        assert policy_named(name).name == name


def best_value(tasks: list[Task], free_bytes: int) -> float:
    """Oracle: every subset, with the memory rounding that the policy documents."""
    capacity = free_bytes // MIB
    return max(
        sum(1.0 / t.duration_s for t in subset)
        for size in range(len(tasks) + 1)
        for subset in itertools.combinations(tasks, size)
        if sum(-(-t.memory_bytes // MIB) for t in subset) <= capacity
    )


@given(tasks=task_lists, free_bytes=free_memory)
def test_knapsack_finds_the_best_set(tasks: list[Task], free_bytes: int) -> None:
    chosen = KnapsackPolicy().choose(tasks, free_bytes, 0)
    value = sum(1.0 / t.duration_s for t in chosen)
    assert value >= best_value(tasks, free_bytes) * (1 - 1e-12)


def test_knapsack_worked_example() -> None:
    """By hand: the shortest task (value 1/5) blocks the pair of the next two (1/8 + 1/9 > 1/5)."""
    tasks = [task("shortest", 4 * MIB, 5.0), task("pair1", 2 * MIB, 9.0), task("pair2", 2 * MIB, 8.0)]
    chosen = KnapsackPolicy().choose(tasks, 4 * MIB, 0)
    assert [t.name for t in chosen] == ["pair2", "pair1"]  # the more valuable first


@given(tasks=task_lists, free_bytes=free_memory, time_value=st.floats(0.01, 100.0))
def test_time_value_does_not_change_the_total_value(tasks: list[Task], free_bytes: int, time_value: float) -> None:
    """Scaling all values may only break exact ties differently."""
    chosen = KnapsackPolicy(time_value=time_value).choose(tasks, free_bytes, 0)
    usual = KnapsackPolicy().choose(tasks, free_bytes, 0)
    assert sum(1 / t.duration_s for t in chosen) == pytest.approx(sum(1 / t.duration_s for t in usual), rel=1e-9)


def test_knapsack_on_a_large_machine_is_exact_and_bounded() -> None:
    tasks = [task(f"t{i}", 10 * MIB, 1.0 + i) for i in range(50)]
    assert len(KnapsackPolicy().choose(tasks, 10**15, 0)) == 50


def test_serial_keeps_order_and_runs_one_at_a_time() -> None:
    tasks = [task("long", MIB, 100.0), task("short", MIB, 1.0)]
    assert SerialPolicy().choose(tasks, 10 * MIB, 0) == tasks[:1]
    assert SerialPolicy().choose(tasks, 10 * MIB, 1) == []


def test_random_orders_are_uniform() -> None:
    """Each of three tasks is first in a third of 3000 seeds, within four standard errors of a proportion."""
    tasks = [task(name, MIB, 1.0) for name in ("a", "b", "c")]
    draws = 3000
    firsts = [RandomParallelPolicy(seed=s).choose(tasks, 3 * MIB, 0)[0].name for s in range(draws)]
    standard_error = (1 / 3 * 2 / 3 / draws) ** 0.5
    for name in ("a", "b", "c"):
        assert firsts.count(name) / draws == pytest.approx(1 / 3, abs=4 * standard_error)


def test_machine_admits_in_the_policy_s_order_while_cores_are_free() -> None:
    machine = Machine(memory_bytes=10 * MIB, cores=2)
    tasks = [task("slow", MIB, 9.0), task("quick", MIB, 1.0), task("medium", MIB, 5.0)]
    policy: Policy = KnapsackPolicy()
    assert [t.name for t in machine.admit(policy, tasks, [])] == ["quick", "medium"]
    assert [t.name for t in machine.admit(policy, tasks[:1], tasks[1:])] == []
    wide_first = [task("wide", MIB, 1.0, cores=2), task("quick", MIB, 2.0)]
    assert machine.admit(policy, wide_first, [tasks[0]]) == []  # quick does not overtake wide for ever


@pytest.mark.parametrize(
    "bad",
    [
        {"function": "no_colon"},
        {"function": "__main__:f"},
        {"memory_bytes": -1},
        {"duration_s": 0.0},
        {"duration_s": float("nan")},
        {"cores": 0},
    ],
)
def test_impossible_tasks_are_refused(bad: dict[str, object]) -> None:
    good: dict[str, object] = {
        "name": "t", "function": "m:f", "payload": {}, "memory_bytes": 1, "duration_s": 1.0, "cores": 1,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="task 't'"):
        Task(**(good | bad))  # type: ignore[arg-type]


def test_bad_names_and_units() -> None:
    with pytest.raises(ConfigError, match="unknown policy 'fifo'; choose from knapsack, random, serial"):
        policy_named("fifo")
    with pytest.raises(ConfigError, match="unit_bytes"):
        KnapsackPolicy(unit_bytes=0)
