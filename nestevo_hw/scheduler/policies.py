"""The policies by name."""

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.scheduler.backfill import BackfillPolicy
from nestevo_hw.scheduler.baselines import RandomParallelPolicy, SerialPolicy
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.lifecycle_knapsack import LifecyclePolicy
from nestevo_hw.scheduler.lookahead import LookaheadPolicy
from nestevo_hw.scheduler.machine import Policy

__all__ = [
    "POLICIES",
    "BackfillPolicy",
    "KnapsackPolicy",
    "LifecyclePolicy",
    "LookaheadPolicy",
    "Policy",
    "RandomParallelPolicy",
    "SerialPolicy",
    "policy_named",
]

POLICIES = ("knapsack", "random", "serial", "backfill", "lifecycle", "lookahead", "lookahead-gain")


def policy_named(name: str, *, seed: int = 0) -> Policy:
    """The policy called `name`, one of `POLICIES`; `seed` serves the random one.

    Raises:
        ConfigError: no such policy.
    """
    policies: tuple[Policy, ...] = (
        KnapsackPolicy(),
        RandomParallelPolicy(seed=seed),
        SerialPolicy(),
        BackfillPolicy(),
        LifecyclePolicy(),
        LookaheadPolicy(),
        LookaheadPolicy(by_gain=True),
    )
    for policy in policies:
        if policy.name == name:
            return policy
    raise ConfigError(f"unknown policy {name!r}; choose from {', '.join(POLICIES)}")
