"""The policies by name."""

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.scheduler.backfill import BackfillPolicy
from nestevo_hw.scheduler.baselines import RandomParallelPolicy, SerialPolicy
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.lifecycle_knapsack import LifecyclePolicy
from nestevo_hw.scheduler.lookahead import LookaheadPolicy
from nestevo_hw.scheduler.machine import Policy


def _every_policy(seed: int) -> tuple[Policy, ...]:
    return (
        KnapsackPolicy(),
        RandomParallelPolicy(seed=seed),
        SerialPolicy(),
        BackfillPolicy(),
        LifecyclePolicy(),
        LookaheadPolicy(),
        LookaheadPolicy(by_gain=True),
    )


POLICIES: dict[str, str] = {policy.name: policy.summary for policy in _every_policy(0)}
"""What each policy does, by its name. Light: numpy is not imported."""

WITHOUT_GAINS = {"lifecycle": "knapsack", "lookahead-gain": "lookahead"}
"""What the policies that heed expected gains are where no task has one."""


def policy_named(name: str, *, seed: int = 0) -> Policy:
    """The policy called `name`, one of `POLICIES`; `seed` serves those that draw lots.

    Raises:
        ConfigError: no such policy.
    """
    for policy in _every_policy(seed):
        if policy.name == name:
            return policy
    raise ConfigError(f"unknown policy {name!r}; choose from {', '.join(POLICIES)}")


def draws_lots(name: str) -> bool:
    """Whether the choices of a policy depend on its seed."""
    return policy_named(name, seed=0) != policy_named(name, seed=1)
