"""Policies side by side on the same predicted tasks."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.policies import POLICIES, policy_named
from nestevo_hw.scheduler.simulator import AS_PREDICTED, Plan, Reality, simulate
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
    """Plans averaged over: more than one where the policy draws lots."""


def compare_policies(
    tasks: Sequence[Task],
    machine: Machine,
    *,
    seed: int = 0,
    draws: int = RANDOM_DRAWS,
    reality: Reality = AS_PREDICTED,
    window_s: float | None = None,
) -> list[PolicyFigures]:
    """Figures of every policy; the random one over `draws` seeds from `seed` on.

    Args:
        tasks: in order of arrival.
        machine: devices they share.
        seed: of the random policy.
        draws: plans of the random policy to average over.
        reality: how what happens differs from the predictions.
        window_s: over which gains are averaged; None for twice the time all tasks would take one after another.

    Raises:
        ConfigError: a task can never run on this machine, or two share a name.
    """
    window_s = window_s or 2.0 * sum(t.duration_s for t in tasks)
    figures = []
    for name in POLICIES:
        seeds = range(seed, seed + (draws if name == "random" else 1))
        plans = [simulate(tasks, policy_named(name, seed=s), machine, reality) for s in seeds]
        figures.append(_figures(name, plans, window_s))
    return figures


def _figures(name: str, plans: Sequence[Plan], window_s: float) -> PolicyFigures:
    known = any(p.task.expected_gain is not None for p in plans[0].tasks)
    return PolicyFigures(
        name=name,
        mean_wait_s=statistics.fmean(p.mean_wait_s for p in plans),
        longest_wait_s=statistics.fmean(p.longest_wait_s for p in plans),
        mean_turnaround_s=statistics.fmean(p.mean_turnaround_s for p in plans),
        makespan_s=statistics.fmean(p.makespan_s for p in plans),
        mean_gain=statistics.fmean(p.mean_gain(window_s) for p in plans) if known else None,
        draws=len(plans),
    )
