"""Every task by its name, those of the user's own included."""

from functools import cache
from importlib import import_module
from typing import get_type_hints

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.names import is_own
from nestevo_hw.base.plugins import called, imported
from nestevo_hw.tasks.names import TASK_NAMES
from nestevo_hw.tasks.task import VisionTask

# Imported here, not when a task is asked for: workers are forked from a process that has imported this module.
_TASKS: dict[str, VisionTask] = {name: import_module(f"nestevo_hw.tasks.{name}").TASK for name in TASK_NAMES}
_VERBS = tuple(name for name, value in vars(VisionTask).items() if callable(value) and not name.startswith("_"))
_FACTS = tuple(get_type_hints(VisionTask))


def task_named(name: str) -> VisionTask:
    """The task of a name.

    Args:
        name: one of `nestevo_hw.tasks.names.TASKS`, or `package.module:name` of a task of the user's own, or of a class
            or function that makes one without arguments.

    Raises:
        ConfigError: there is none, or it is no task.
    """
    if is_own(name):
        return _own(name)
    if name not in _TASKS:
        raise ConfigError(f"unknown task {name!r}; choose from {', '.join(TASK_NAMES)}, or give package.module:name")
    return _TASKS[name]


@cache
def _own(name: str) -> VisionTask:
    found = imported(*name.split(":"))
    if isinstance(found, type) or (callable(found) and not hasattr(found, "label")):
        found = called(found, name, {})
    # Whoever names the protocol as a base inherits its empty verbs.
    missing = [verb for verb in _VERBS if getattr(type(found), verb, None) in (None, getattr(VisionTask, verb))]
    missing += [fact for fact in _FACTS if not hasattr(found, fact)]
    if missing:
        raise ConfigError(
            f"{name} is no task: a {type(found).__name__} has no {', '.join(missing)}; docs/your-task.md says what a "
            "task needs"
        )
    task: VisionTask = found
    return task
