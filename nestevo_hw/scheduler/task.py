"""What is scheduled: a task with its predicted needs, and what it really took."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nestevo_hw.base.errors import ConfigError


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
    """Predicted peak of memory, reserved while the task runs: what its process takes beyond what workers share. On a
    GPU of that GPU's memory, context included; 0 for a task that needs none of it, and does not see it."""
    duration_s: float
    """Predicted duration, seconds."""
    host_bytes: int = 0
    """Where `memory_bytes` are a GPU's, predicted peak of main memory that it takes; 0: not known, not held to."""
    cores: int = 1
    """Threads the task computes with."""
    priority: int = 0
    """Tasks of a higher priority go first, whatever their length."""
    expected_gain: float | None = None
    """Accuracy it is expected to win once it has ended, 0 to 1; None where nobody has said."""
    arrives_s: float = 0.0
    """When it may start, seconds after the run or the schedule began."""
    kind: str = ""
    """What tasks of its sort are called in statistics, for example "mutual"; empty: its name."""
    guessed: bool = False
    """Whether its predicted needs are a first guess, as nothing was known of its like."""

    def __post_init__(self) -> None:
        module, colon, function = self.function.partition(":")
        if not (module and colon and function.isidentifier()) or module == "__main__":
            raise ConfigError(
                f"task {self.name!r}: function must be 'package.module:function' in an importable module, "
                f"got {self.function!r}"
            )
        least_bytes = min(self.memory_bytes, self.host_bytes)
        if least_bytes < 0 or not 0.0 < self.duration_s < float("inf") or self.cores < 1:
            raise ConfigError(
                f"task {self.name!r}: need memory_bytes and host_bytes >= 0, duration_s > 0 and cores >= 1, "
                f"got {self.memory_bytes}, {self.host_bytes}, {self.duration_s} and {self.cores}"
            )
        gain = 0.0 if self.expected_gain is None else self.expected_gain
        if not 0.0 <= self.arrives_s < float("inf") or not 0.0 <= gain <= 1.0:
            raise ConfigError(
                f"task {self.name!r}: need arrives_s >= 0 and expected_gain from 0 to 1, "
                f"got {self.arrives_s} and {self.expected_gain}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """That a task took more main memory than it had reserved."""

    reserved_bytes: int
    peak_bytes: int
    """Most that its process was seen to take."""
    stopped: bool = False
    """Whether it was stopped, as the machine ran out of memory."""


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
    """Slot it ran in, from 0; slots are numbered through all devices."""
    peak_memory_bytes: int
    """Most memory that the task's process took of its own: its largest resident set, from the kernel, less
    `shared_memory_bytes`. Inherited pages that it wrote to and so copied, about 10 MB, are missing. Of an in-process
    run (workers=0): how far the task raised the program's."""
    shared_memory_bytes: int = 0
    """Resident memory that is there once for all workers: what they inherit of the libraries, and pages of files."""
    gpu_peak_bytes: int | None = None
    """Most memory that the task took of its GPU: what its allocator had reserved, and the context. None without one."""
    attempts: int = 1
    """1, or 2 if the first worker died or was stopped."""
    excess: Excess | None = None
    """Of the last attempt that took more than it had reserved; None if none did."""

    @property
    def held_bytes(self) -> int:
        """Most that it took of the memory it had reserved: its GPU's, else the machine's."""
        return self.peak_memory_bytes if self.gpu_peak_bytes is None else self.gpu_peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailure:
    """A task that failed for good: by an error of its own, twice by its worker's death, by a time-out or cancelled."""

    name: str
    reason: str
    """One line for the user: what happened, and what to do."""
    attempts: int
    error_type: str = ""
    """Name of the exception that its function raised; "" where it could not even answer."""
    traceback: str = ""
    """Of the worker, where its function raised."""
    excess: Excess | None = None
    """See `TaskResult`."""
