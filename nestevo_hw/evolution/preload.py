"""What worker processes of a run import before their first task; light itself, so that they can begin at once."""

from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD

PRELOAD = (*DEFAULT_PRELOAD, "nestevo_hw.evolution.steps.perform")
