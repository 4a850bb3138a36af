"""What is scheduled: a task with its predicted needs, and what it really took."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nestevo_hw.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of work, described by plain values so that it can run in any process on any machine."""

    name: str
    """Unique among the tasks that are scheduled together, for example "w0/mutual/campus"."""
    function: str
    """ "package.module:function": a top-level function from one JSON object to another; files carry the tensors."""
    payload: Mapping[str, Any]
    """Argument of the function: JSON values, paths as strings."""
    memory_bytes: int
    """Predicted peak memory, reserved while the task runs."""
    duration_s: float
    """Predicted duration, seconds."""
    cores: int = 1
    """Threads the task computes with."""

    def __post_init__(self) -> None:
        module, colon, function = self.function.partition(":")
        if not (module and colon and function.isidentifier()) or module == "__main__":
            raise ConfigError(
                f"task {self.name!r}: function must be 'package.module:function' in an importable module, "
                f"got {self.function!r}"
            )
        if self.memory_bytes < 0 or not 0.0 < self.duration_s < float("inf") or self.cores < 1:
            raise ConfigError(
                f"task {self.name!r}: need memory_bytes >= 0, duration_s > 0 and cores >= 1, "
                f"got {self.memory_bytes}, {self.duration_s} and {self.cores}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What a finished task returned, and what it took. Times are seconds since the executor's start."""

    name: str
    value: dict[str, Any]
    """The JSON object that the function returned."""
    submitted_s: float
    started_s: float
    """Start of the last attempt, measured where the worker was forked."""
    ended_s: float
    worker: int
    """Slot of the machine it ran in, from 0."""
    peak_memory_bytes: int
    """Largest resident set of the task's own process (ru_maxrss, from the kernel). It includes pages shared with
    the other workers (`shared_memory_bytes`), so the sum over workers is an upper bound of what they hold together.
    Of an in-process run (workers=0): the largest resident set of the whole program so far."""
    shared_memory_bytes: int = 0
    """Resident set with which the worker began: the preloaded libraries, shared with the other workers."""
    attempts: int = 1
    """1, or 2 if the first worker died."""
