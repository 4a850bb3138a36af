"""Policies side by side on the same predicted tasks."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.policies import POLICIES, WITHOUT_GAINS, draws_lots, policy_named
from nestevo_hw.scheduler.simulator import AS_PREDICTED, Reality, Schedule, simulate
from nestevo_hw.scheduler.task import Task

RANDOM_DRAWS = 100
LEAST_DRAWS = 10
DRAWN = 1_000_000
"""Draws times the square of the tasks, as the time of a schedule grows, unless draws become fewer than the least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFigures:
    """Modelled figures of one policy, seconds; means over its draws."""

    name: str
    mean_wait_s: float
    longest_wait_s: float
    mean_turnaround_s: float
    makespan_s: float
    mean_gain: float | None
    """Accuracy won on average over a window, 0 to 1; None where no task has an expected gain."""
    draws: int
    """Schedules averaged over: more than one where the policy draws lots."""


def compare_policies(
    tasks: Sequence[Task],
    machine: Machine,
    *,
    seed: int = 0,
    draws: int = RANDOM_DRAWS,
    reality: Reality = AS_PREDICTED,
    window_s: float | None = None,
) -> list[PolicyFigures]:
    """Figures of every policy; of one that draws lots, over `draws` seeds from `seed` on, or fewer of long lists.

    Args:
        tasks: in order of arrival.
        machine: devices they share.
        seed: of policies that draw lots.
        draws: schedules to average over, of such a policy.
        reality: how what happens differs from the predictions.
        window_s: over which gains are averaged; None for `usual_window_s`.

    Raises:
        ConfigError: a task can never run on this machine, or two share a name.
    """
    schedules = simulate_policies(tasks, machine, seed=seed, draws=draws, reality=reality)
    return [figures_of(name, found, window_s or usual_window_s(tasks)) for name, found in schedules.items()]


def simulate_policies(
    tasks: Sequence[Task],
    machine: Machine,
    *,
    seed: int = 0,
    draws: int = RANDOM_DRAWS,
    reality: Reality = AS_PREDICTED,
    advance: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Schedule]]:
    """Schedules of every policy, that of `seed` first; otherwise as `compare_policies`.

    Args:
        tasks: in order of arrival.
        machine: devices they share.
        seed: of policies that draw lots.
        draws: schedules of such a policy.
        reality: how what happens differs from the predictions.
        advance: called with the policy of each schedule that is done, `comparison_steps` times.
    """
    schedules: dict[str, list[Schedule]] = {name: [] for name in POLICIES}
    known = any(task.expected_gain is not None for task in tasks)
    for name, found in schedules.items():
        if not known and name in WITHOUT_GAINS:
            found.extend(schedules[WITHOUT_GAINS[name]])
            advance(name)
            continue
        for each in range(seed, seed + (_draws(draws, tasks) if draws_lots(name) else 1)):
            found.append(simulate(tasks, policy_named(name, seed=each), machine, reality))
            advance(name)
    return schedules


def comparison_steps(tasks: Sequence[Task], draws: int = RANDOM_DRAWS) -> int:
    """How often `simulate_policies` calls `advance`."""
    return sum(_draws(draws, tasks) if draws_lots(name) else 1 for name in POLICIES)


def _draws(draws: int, tasks: Sequence[Task]) -> int:
    """Fewer of a long list, whose every schedule is already a mean over many tasks."""
    return min(draws, max(LEAST_DRAWS, DRAWN // max(len(tasks), 1) ** 2))


def usual_window_s(tasks: Sequence[Task]) -> float:
    """Twice the time all tasks would take one after another."""
    return 2.0 * sum(t.duration_s for t in tasks)


def figures_of(name: str, schedules: Sequence[Schedule], window_s: float) -> PolicyFigures:
    """Figures of a policy's schedules; gains are averaged over `window_s`."""
    known = any(p.task.expected_gain is not None for p in schedules[0].tasks)
    return PolicyFigures(
        name=name,
        mean_wait_s=statistics.fmean(s.mean_wait_s for s in schedules),
        longest_wait_s=statistics.fmean(s.longest_wait_s for s in schedules),
        mean_turnaround_s=statistics.fmean(s.mean_turnaround_s for s in schedules),
        makespan_s=statistics.fmean(s.makespan_s for s in schedules),
        mean_gain=statistics.fmean(s.mean_gain(window_s) for s in schedules) if known else None,
        draws=len(schedules),
    )
