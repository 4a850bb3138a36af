"""Policies side by side on the same predicted tasks."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.policies import POLICIES, draws_lots, policy_named
from nestevo_hw.scheduler.simulator import AS_PREDICTED, Reality, Schedule, simulate
from nestevo_hw.scheduler.task import Task

RANDOM_DRAWS = 100


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
    """Figures of every policy; of one that draws lots, over `draws` seeds from `seed` on.

    Args:
        tasks: in order of arrival.
        machine: devices they share.
        seed: of policies that draw lots.
        draws: schedules to average over, of such a policy.
        reality: how what happens differs from the predictions.
        window_s: over which gains are averaged; None for twice the time all tasks would take one after another.

    Raises:
        ConfigError: a task can never run on this machine, or two share a name.
    """
    window_s = window_s or 2.0 * sum(t.duration_s for t in tasks)
    figures = []
    for name in POLICIES:
        seeds = range(seed, seed + (draws if draws_lots(name) else 1))
        schedules = [simulate(tasks, policy_named(name, seed=s), machine, reality) for s in seeds]
        figures.append(_figures(name, schedules, window_s))
    return figures


def _figures(name: str, schedules: Sequence[Schedule], window_s: float) -> PolicyFigures:
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
