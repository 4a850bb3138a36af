"""Every policy passes the suite, and the suite catches policies that break each rule."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from nestevo_hw.scheduler.devices import DeviceState, Placement, start_in_order
from nestevo_hw.scheduler.machine import Machine, Policy
from nestevo_hw.scheduler.policies import POLICIES, policy_named
from nestevo_hw.scheduler.simulator import Schedule, simulate
from nestevo_hw.scheduler.task import Task
from nestevo_hw.testing import policies as suite
from nestevo_hw.testing.policies import POLICY_CHECKS, MakePolicy, check_policy

Choose = Callable[[Sequence[Task], Sequence[DeviceState]], list[Placement]]


@pytest.mark.parametrize("check", POLICY_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_passes(name: str, check: Callable[[MakePolicy], None]) -> None:
    check(partial(policy_named, name, seed=3))


@dataclass(kw_only=True)
class Rule:
    """A policy of one function."""

    choose: Choose
    name: str = "rule"
    summary: str = "by a function"


def in_order(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    return start_in_order(sorted(waiting, key=lambda t: -t.priority), devices)


def test_a_policy_of_ones_own_passes() -> None:
    check_policy(lambda: Rule(choose=in_order))


def all_at_once(waiting: Sequence[Task], _: Sequence[DeviceState]) -> list[Placement]:
    return [Placement(task, 0) for task in waiting]


def beyond(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    return [Placement(p.task, p.device + 1) for p in in_order(waiting, devices)]


def without_cores(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    return in_order([replace(t, cores=1) for t in waiting], devices)


def never(_: Sequence[Task], __: Sequence[DeviceState]) -> list[Placement]:
    return []


def by_chance(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    return in_order(random.sample(list(waiting), len(waiting)), devices)


def emptying(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    chosen = in_order(waiting, devices)
    waiting.clear()  # type: ignore[attr-defined]
    return chosen


def priority_last(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    return start_in_order(sorted(waiting, key=lambda t: t.priority), devices)


def rounded(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    """Memory rounded up to whole MiB, which a task of exactly the device's memory does not survive."""
    larger = {t.name: replace(t, memory_bytes=-(-t.memory_bytes // suite.MIB) * suite.MIB) for t in waiting}
    own = {t.name: t for t in waiting}
    return [Placement(own[p.task.name], p.device) for p in in_order(list(larger.values()), devices)]


def ghostly(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    return in_order(waiting, devices) or [Placement(suite._task("ghost", 0, 1.0), 0)]


@pytest.mark.parametrize(
    ("check", "choose", "message"),
    [
        (suite.stays_within_what_is_free, all_at_once, "are free"),
        (suite.stays_within_what_is_free, without_cores, "starts what does not wait"),
        (suite.stays_within_what_is_free, beyond, "a device that is not there"),
        (suite.stays_within_what_is_free, lambda w, d: 2 * in_order(w, d), "starts a task twice"),
        (suite.starts_something_on_idle_devices, never, "nothing runs, and it starts"),
        (suite.repeats_itself, by_chance, "it chose otherwise the second time"),
        (suite.repeats_itself, emptying, "it chose otherwise|it changed the queue"),
        (suite.lets_higher_priority_go_first, priority_last, "it starts"),
        (suite.takes_an_empty_queue, ghostly, "starts something that does not wait"),
        (suite.starts_a_task_that_fills_a_device, rounded, "does not start where it fits"),
        (suite.breaks_ties, by_chance, "told apart by something other than the queue"),
        (suite.breaks_ties, never, "none of several equal tasks"),
        (suite.serves_many_devices, all_at_once, "are free"),
        (suite.serves_many_devices, never, "nothing starts"),
    ],
)
def test_broken_rules_are_caught(check: Callable[[MakePolicy], None], choose: Choose, message: str) -> None:
    random.seed(0)
    with pytest.raises(AssertionError, match=message):
        check(lambda: Rule(choose=choose))


def test_a_policy_without_a_name_or_with_a_memory_is_caught() -> None:
    with pytest.raises(AssertionError, match="lacks a name"):
        suite.takes_an_empty_queue(lambda: Rule(choose=in_order, name=""))
    made: list[Any] = []

    @dataclass(kw_only=True)
    class Growing(Rule):
        choose: Choose = field(init=False)

        def __post_init__(self) -> None:
            made.append(self)
            self.choose = in_order if len(made) % 2 else lambda w, d: in_order(w, d)[:1]

    with pytest.raises(AssertionError, match="another of its kind chose otherwise"):
        suite.repeats_itself(Growing)


def _patient(tasks: Sequence[Task], policy: Policy, machine: Machine) -> Schedule:
    return simulate(tasks, policy, replace(machine, patience_s=1e9))


@pytest.mark.parametrize("check", [suite.lets_nothing_wait_for_ever, suite.is_overtaken_within_patience_only])
def test_the_machine_and_not_the_policy_keeps_tasks_from_waiting_for_ever(
    check: Callable[[MakePolicy], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shortest first passes; on a machine of endless patience it does not."""

    def shortest(waiting: Sequence[Task], devices: Sequence[DeviceState]) -> list[Placement]:
        return start_in_order(sorted(waiting, key=lambda t: (t.duration_s, t.name)), devices)

    check(lambda: Rule(choose=shortest))
    monkeypatch.setattr(suite, "simulate", _patient)
    with pytest.raises(AssertionError, match=r"waits|overtook"):
        check(lambda: Rule(choose=shortest))
