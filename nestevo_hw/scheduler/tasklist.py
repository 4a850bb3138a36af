"""A list of tasks as a JSON file, for `nestevo-hw schedule`."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from nestevo_hw.base.documents import read_json
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.ranges import NOT_NEGATIVE, POSITIVE, SHARE, Range
from nestevo_hw.scheduler.task import Task

MOST_TASKS = 1000


class _Entry(BaseModel):
    """One task of the file, by its predictions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=255)]
    memory_gb: Annotated[float, Range(0, 1e6)]
    """Predicted peak, GB of 1e9 bytes."""
    duration_s: Annotated[float, POSITIVE]
    """Predicted, seconds."""
    cores: Annotated[int, Range(1, 1024)] = 1
    priority: Annotated[int, Range(-1e9, 1e9)] = 0
    expected_gain: Annotated[float, SHARE] | None = None
    """Accuracy, 0 to 1."""
    arrives_s: Annotated[float, NOT_NEGATIVE] = 0.0


def read_tasks(path: Path) -> list[Task]:
    """Tasks to plan with, from `[{"name": "campus", "memory_gb": 1.2, "duration_s": 30.0}, ...]`.

    A task may also have "cores", "priority", "expected_gain" and "arrives_s". They are for the simulator: run, they
    would do nothing.

    Raises:
        InputError: the file is missing, not JSON, or a task lacks a value, or has an impossible one or another's name.
    """
    entries = read_json(path, list[_Entry], advice="see `nestevo-hw schedule --help` for its format")
    if not entries:
        raise InputError(f"{path} holds no tasks")
    if len(entries) > MOST_TASKS:
        raise InputError(f"{path} holds {len(entries)} tasks but {MOST_TASKS} at most can be compared; give fewer")
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path} holds two tasks called {twice!r}; give each its own name")
    return [
        Task(
            name=entry.name,
            function="builtins:dict",
            payload={},
            memory_bytes=round(entry.memory_gb * 1e9),
            duration_s=entry.duration_s,
            cores=entry.cores,
            priority=entry.priority,
            expected_gain=entry.expected_gain,
            arrives_s=entry.arrives_s,
        )
        for entry in entries
    ]
