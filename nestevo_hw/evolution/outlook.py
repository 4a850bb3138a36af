"""What a run still has before it: how many tasks, about how much work, and what each is called meanwhile."""

from collections import Counter

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.steps.table import CHOOSE_PATH, CHOOSE_PATH_AGAIN, SEARCH_PATHS, STEPS, TIME_PATHS
from nestevo_hw.scheduler.task import Task


def most_tasks(config: RunConfig) -> int:
    """Tasks of a run in which every terminal has a teacher of its own, which evolves in every window."""
    return _most(config).total()


def most_work_s(config: RunConfig) -> float:
    """Typical seconds of all these tasks together."""
    return sum(count * STEPS[kind].typical_s for kind, count in _most(config).items())


def work_s(task: Task) -> float:
    """Typical seconds of one task."""
    return STEPS[task.kind].typical_s


def task_words(task: Task, windows: int) -> str:
    """Where a run is when a task has ended, in words; windows are counted from 0 as on the page."""
    when, _, *subject = task.name.split("/")
    number = when.removeprefix("w")
    place = f"window {number} ({int(number) + 1} of {windows})" if number.isdecimal() else when
    return ", ".join([f"{place}: {STEPS[task.kind].wording}", *subject])


def _most(config: RunConfig) -> Counter[str]:
    terminals, windows = len(config.terminals), config.window.count
    once = ("capture", "describe", "prepare", "dry-run", "baseline")
    in_each = ("capture", "sense", *METHODS[config.method].kinds, "evaluate", "recall", "baseline")
    most = Counter({kind: terminals * (once.count(kind) + windows * in_each.count(kind)) for kind in {*once, *in_each}})
    elastic = len(config.elastic_terminals)
    for kind in (CHOOSE_PATH.kind, CHOOSE_PATH_AGAIN.kind):
        most[kind] = most[kind] * elastic // terminals
    return most + Counter(dict.fromkeys((TIME_PATHS.kind, SEARCH_PATHS.kind), min(elastic, 1)))
