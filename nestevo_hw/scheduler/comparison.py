"""Policies side by side on the same predicted tasks."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nestevo_hw.scheduler.policies import POLICIES, Machine, policy_named
from nestevo_hw.scheduler.simulator import Plan, simulate
from nestevo_hw.scheduler.task import Task

RANDOM_DRAWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFigures:
    """Modelled figures of one policy, seconds; means over its draws."""

    name: str
    mean_wait_s: float
    mean_turnaround_s: float
    makespan_s: float
    draws: int
    """Plans averaged over: more than one where the policy draws lots."""


def compare_policies(
    tasks: Sequence[Task], machine: Machine, *, seed: int = 0, draws: int = RANDOM_DRAWS
) -> list[PolicyFigures]:
    """Figures of every policy; the random one over `draws` seeds from `seed` on.

    Raises:
        ConfigError: a task can never run on this machine, or two share a name.
    """
    figures = []
    for name in POLICIES:
        seeds = range(seed, seed + (draws if name == "random" else 1))
        plans = [simulate(tasks, policy_named(name, seed=s), machine) for s in seeds]
        figures.append(_figures(name, plans))
    return figures


def _figures(name: str, plans: Sequence[Plan]) -> PolicyFigures:
    return PolicyFigures(
        name=name,
        mean_wait_s=statistics.fmean(p.mean_wait_s for p in plans),
        mean_turnaround_s=statistics.fmean(p.mean_turnaround_s for p in plans),
        makespan_s=statistics.fmean(p.makespan_s for p in plans),
        draws=len(plans),
    )
