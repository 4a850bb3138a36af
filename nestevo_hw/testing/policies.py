"""What every scheduling policy must hold to, as checks of any `Policy`.

With pytest::

    @pytest.mark.parametrize("check", POLICY_CHECKS, ids=lambda check: check.__name__)
    def test_mine(check):
        check(MyPolicy)

The situations are drawn from fixed seeds, so a check gives the same result everywhere.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

from nestevo_hw.scheduler.devices import Device, DeviceState, Placement
from nestevo_hw.scheduler.knapsack import MIB
from nestevo_hw.scheduler.machine import Machine, Policy
from nestevo_hw.scheduler.simulator import simulate
from nestevo_hw.scheduler.task import Task
from nestevo_hw.testing.requirement import require

MakePolicy = Callable[[], Policy]
"""Makes the policy anew: a class, or a function without arguments."""
Situation = tuple[list[Task], list[DeviceState]]

SITUATIONS = 200
"""Random ones that a check goes through."""


def check_policy(make: MakePolicy) -> None:
    """Put a policy through every check.

    Raises:
        AssertionError: it fails one, with the situation.
    """
    for check in POLICY_CHECKS:
        check(make)


def stays_within_what_is_free(make: MakePolicy) -> None:
    """It places waiting tasks only, each once, and never more than a device has free, whatever runs there."""
    for waiting, states in _situations("free"):
        _require_possible(make().choose(waiting, states), waiting, states)


def starts_something_on_idle_devices(make: MakePolicy) -> None:
    """Where nothing runs and something waits, something starts."""
    for waiting, busy in _situations("idle"):
        states = [DeviceState(device=state.device) for state in busy]
        chosen = make().choose(waiting, states)
        require(bool(chosen) == bool(waiting), f"nothing runs, and it starts {_names(chosen)} of {waiting} on {states}")


def repeats_itself(make: MakePolicy) -> None:
    """The same queue gives the same choice, of the same object and of another, and the queue is left alone."""
    for waiting, states in _situations("repeat"):
        before, policy = list(waiting), make()
        first = policy.choose(waiting, states)
        require(policy.choose(waiting, states) == first, f"it chose otherwise the second time from {waiting}")
        require(make().choose(waiting, states) == first, f"another of its kind chose otherwise from {waiting}")
        require(waiting == before, "it changed the queue it was given")


def lets_higher_priority_go_first(make: MakePolicy) -> None:
    """On a device that holds any task, but only one, the one that starts has the highest priority."""
    for drawn, _ in _situations("priority"):
        waiting = [_task(t.name, 8 * MIB, t.duration_s, priority=t.priority, gain=0.1) for t in drawn]
        chosen = make().choose(waiting, [_idle(12 * MIB)])
        wanted = [max(t.priority for t in waiting)] if waiting else []
        require([p.task.priority for p in chosen] == wanted, f"it starts {_names(chosen)} of {waiting}")


def takes_an_empty_queue(make: MakePolicy) -> None:
    """Nothing waits, so nothing starts, on idle devices or busy ones; and it has a name and a summary."""
    running = _idle(MIB).with_task(_task("running", MIB, 1.0))
    for states in ([_idle(MIB)], [running], [_idle(MIB), running]):
        require(make().choose([], states) == [], "it starts something that does not wait")
    require(bool(make().name and make().summary), "it lacks a name or a summary")


def starts_a_task_that_fills_a_device(make: MakePolicy) -> None:
    """A single task of exactly a device's memory and cores starts there, also where that is no round number."""
    for memory_bytes in (2, MIB, 3 * MIB + 7, 80 * 10**9 + 1):
        huge = _task("huge", memory_bytes, 1.0, cores=4)
        device = DeviceState(device=Device(memory_bytes=memory_bytes, cores=4))
        chosen = make().choose([huge], [_idle(memory_bytes - 1), device])
        require(chosen == [Placement(huge, 1)], f"a task of all {memory_bytes} bytes does not start where it fits")
        busy = device.with_task(_task("running", 0, 1.0))
        require(make().choose([huge], [busy]) == [], f"a task for 4 cores starts on {busy.free_cores}")


def breaks_ties(make: MakePolicy) -> None:
    """Tasks alike but for their names: each starts at most once, and in the same way again."""
    waiting = [_task(f"twin{k}", 2 * MIB, 5.0) for k in range(9)]
    states = [_idle(7 * MIB), _idle(7 * MIB)]
    chosen = make().choose(waiting, states)
    _require_possible(chosen, waiting, states)
    require(bool(chosen), "none of several equal tasks starts")
    require(make().choose(waiting, states) == chosen, "equal tasks are told apart by something other than the queue")


def serves_many_devices(make: MakePolicy) -> None:
    """Devices of every size, tasks for each: what starts fits where it starts."""
    draw = random.Random("many devices")
    states = [DeviceState(device=Device(memory_bytes=(k + 1) * MIB, cores=1 + k % 3)) for k in range(16)]
    waiting = [_task(f"t{k}", draw.randint(0, 16 * MIB), draw.uniform(0.1, 100.0)) for k in range(40)]
    chosen = make().choose(waiting, states)
    _require_possible(chosen, waiting, states)
    require(bool(chosen), "sixteen idle devices, and nothing starts")


def lets_nothing_wait_for_ever(make: MakePolicy) -> None:
    """A large, long task among a stream of small ones that would keep the machine full for hours."""
    patience_s, short_s = 100.0, 10.0
    stream = [_task(f"s{k}", 6 * MIB, short_s, arrives_s=4.0 * k) for k in range(200)]
    whale = _task("whale", 16 * MIB, 500.0, arrives_s=1.0)
    machine = Machine(devices=(Device(memory_bytes=16 * MIB, cores=4),), patience_s=patience_s)
    schedule = simulate([*stream[:1], whale, *stream[1:]], make(), machine)
    wait_s = next(s.wait_s for s in schedule.tasks if s.task.name == "whale")
    overtaking = sum(t.arrives_s <= whale.arrives_s + patience_s for t in stream)
    require(wait_s <= (overtaking + 1) * short_s, f"a large task waits {wait_s:.0f} s while small ones overtake it")


def is_overtaken_within_patience_only(make: MakePolicy) -> None:
    """Who starts before a task that waited already arrived at most the machine's patience after it."""
    draw = random.Random("patience")
    for _ in range(SITUATIONS):
        tasks = [
            _task(f"t{k}", draw.randint(1, 16) * MIB, draw.uniform(0.1, 50.0), arrives_s=draw.uniform(0.0, 200.0))
            for k in range(draw.randint(0, 12))
        ]
        machine = Machine(devices=(Device(memory_bytes=16 * MIB, cores=3),), patience_s=draw.uniform(0.0, 50.0))
        for one, other in itertools.permutations(simulate(tasks, make(), machine).tasks, 2):
            if other.started_s < one.started_s and one.task.arrives_s <= other.started_s:
                late_s = other.task.arrives_s - one.task.arrives_s
                require(late_s <= machine.patience_s, f"{other.task.name} came {late_s:.0f} s later and overtook")


POLICY_CHECKS: tuple[Callable[[MakePolicy], None], ...] = (
    stays_within_what_is_free,
    starts_something_on_idle_devices,
    repeats_itself,
    lets_higher_priority_go_first,
    takes_an_empty_queue,
    starts_a_task_that_fills_a_device,
    breaks_ties,
    serves_many_devices,
    lets_nothing_wait_for_ever,
    is_overtaken_within_patience_only,
)
"""Every check; each raises an AssertionError that says in which situation the policy fails."""


def _require_possible(chosen: Sequence[Placement], waiting: Sequence[Task], states: Sequence[DeviceState]) -> None:
    require(len(set(_names(chosen))) == len(chosen), f"it starts a task twice: {_names(chosen)}")
    require(all(p.task in waiting for p in chosen), f"it starts what does not wait: {_names(chosen)}")
    require(all(0 <= p.device < len(states) for p in chosen), "it names a device that is not there")
    for index, state in enumerate(states):
        here = [p.task for p in chosen if p.device == index]
        memory_bytes, cores = sum(t.memory_bytes for t in here), sum(t.cores for t in here)
        require(memory_bytes <= state.free_bytes, f"{memory_bytes} bytes start on {state}, {state.free_bytes} are free")
        require(cores <= state.free_cores, f"tasks for {cores} cores start on {state}, {state.free_cores} are free")


def _situations(name: str) -> Iterator[Situation]:
    """Some devices, some of them busy, and tasks each of which fits on one of them when it is idle."""
    draw = random.Random(name)
    for _ in range(SITUATIONS):
        states = []
        for number in range(draw.randint(1, 3)):
            device = Device(memory_bytes=draw.randint(1, 20 * MIB), cores=draw.randint(1, 4))
            state = DeviceState(device=device)
            for k in range(draw.randint(0, 3)):
                running = _drawn(draw, f"r{number}/{k}")
                state = state.with_task(running) if state.fits(running) else state
            states.append(state)
        tasks = [_drawn(draw, f"t{k}") for k in range(draw.randint(0, 8))]
        yield [t for t in tasks if any(s.device.could_hold(t) for s in states)], states


def _drawn(draw: random.Random, name: str) -> Task:
    """Any task; sizes and times of zero, one and the same come up as well."""
    memory_bytes = draw.choice((0, MIB, 4 * MIB, draw.randint(0, 12 * MIB), draw.randint(0, 12 * MIB)))
    duration_s = draw.choice((1.0, draw.uniform(0.1, 1000.0), draw.uniform(0.1, 1000.0)))
    return _task(
        name, memory_bytes, duration_s, cores=draw.randint(1, 3), priority=draw.randint(0, 1),
        gain=draw.choice((None, 0.0, draw.random())),
    )  # fmt: skip


def _task(
    name: str,
    memory_bytes: int,
    duration_s: float,
    *,
    cores: int = 1,
    priority: int = 0,
    gain: float | None = None,
    arrives_s: float = 0.0,
) -> Task:
    return Task(
        name=name, function="builtins:dict", payload={}, memory_bytes=memory_bytes, duration_s=duration_s, cores=cores,
        priority=priority, expected_gain=gain, arrives_s=arrives_s,
    )  # fmt: skip


def _idle(memory_bytes: int) -> DeviceState:
    return DeviceState(device=Device(memory_bytes=memory_bytes, cores=100))


def _names(placements: Sequence[Placement]) -> list[str]:
    return [p.task.name for p in placements]
