"""Every task by its name."""

from importlib import import_module

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.tasks.names import TASK_NAMES
from nestevo_hw.tasks.task import VisionTask

# Imported here, not when a task is asked for: workers are forked from a process that has imported this module.
_TASKS: dict[str, VisionTask] = {name: import_module(f"nestevo_hw.tasks.{name}").TASK for name in TASK_NAMES}


def task_named(name: str) -> VisionTask:
    """The task of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in _TASKS:
        raise ConfigError(f"unknown task {name!r}; choose from {', '.join(TASK_NAMES)}")
    return _TASKS[name]
