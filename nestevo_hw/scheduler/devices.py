"""What tasks share, as a policy sees it: devices with memory and cores, and what runs on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.scheduler.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Memory that tasks share: a machine's, one GPU's, or one node's of a cluster."""

    memory_bytes: int
    """That running tasks may reserve together."""
    cores: int
    """Worker slots."""
    name: str = "machine"
    gpu: int | None = None
    """Number of the GPU whose memory this is, among those of its machine; None for main memory."""
    context_bytes: int = 0
    """Of a GPU's memory, what a process takes besides what it asks PyTorch's allocator for."""

    def __post_init__(self) -> None:
        if self.memory_bytes < 1 or self.cores < 1:
            raise ConfigError(
                f"{self.name}: need memory_bytes >= 1 and at least one worker, got {self.memory_bytes} and {self.cores}"
            )

    def allocator_bytes(self, reserved_bytes: int) -> int:
        """What a task's allocator may take of the GPU when so much of it is reserved; 0 hides the GPU."""
        return max(reserved_bytes - self.context_bytes, 1) if reserved_bytes else 0

    def gpu_taken(self, allocator_bytes: int | None) -> int | None:
        """What a process takes of the GPU whose allocator has so much; None of main memory, or where not told."""
        if self.gpu is None or allocator_bytes is None:
            return None
        return allocator_bytes + self.context_bytes if allocator_bytes else 0

    @property
    def workers_at_once(self) -> int:
        """Processes of a GPU whose contexts take no more than half of its memory; one at least."""
        if not self.context_bytes:
            return self.cores
        return max(min(self.cores, self.memory_bytes // (2 * self.context_bytes)), 1)

    def could_hold(self, task: Task) -> bool:
        """Whether the task fits when nothing else runs."""
        return task.memory_bytes <= self.memory_bytes and task.cores <= self.cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running task."""

    task: Task
    remaining_s: float
    """Predicted time to its end, > 0 also of a task that is overdue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """A device at the moment of a choice."""

    device: Device
    running: tuple[Running, ...] = ()

    @property
    def free_bytes(self) -> int:
        """Memory that no running task has reserved."""
        return self.device.memory_bytes - sum(r.task.memory_bytes for r in self.running)

    @property
    def free_cores(self) -> int:
        """Worker slots without a task."""
        return self.device.cores - sum(r.task.cores for r in self.running)

    def fits(self, task: Task) -> bool:
        """Whether the task could start now."""
        return task.memory_bytes <= self.free_bytes and task.cores <= self.free_cores

    def with_task(self, task: Task) -> "DeviceState":
        """The device once the task has started."""
        return replace(self, running=(*self.running, Running(task=task, remaining_s=task.duration_s)))

    def after(self, seconds: float) -> "DeviceState":
        """The device some time later, without the tasks that have ended."""
        left = [(r.task, r.remaining_s - seconds) for r in self.running]
        return replace(self, running=tuple(Running(task=t, remaining_s=s) for t, s in left if s > 0.0))


@dataclass(frozen=True, slots=True)
class Placement:
    """A task and the device it starts on."""

    task: Task
    device: int
    """Index of the device."""


def best_fit(task: Task, states: Sequence[DeviceState]) -> int | None:
    """The device on which the task leaves the least memory free; None if it fits on none."""
    fitting = [i for i, state in enumerate(states) if state.fits(task)]
    return min(fitting, key=lambda i: states[i].free_bytes, default=None)


def start_in_order(tasks: Iterable[Task], devices: Sequence[DeviceState]) -> list[Placement]:
    """Start each task that still fits somewhere, in the order given."""
    states, placed = list(devices), list[Placement]()
    free_bytes, free_cores = _most_free(states)
    for task in tasks:
        if task.memory_bytes > free_bytes or task.cores > free_cores:  # most of a long queue, and quick to tell
            continue
        device = best_fit(task, states)
        if device is not None:
            states[device] = states[device].with_task(task)
            placed.append(Placement(task, device))
            free_bytes, free_cores = _most_free(states)
            if free_cores < 1:
                break
    return placed


def _most_free(states: Sequence[DeviceState]) -> tuple[int, int]:
    """Bytes and cores that no task can exceed and start now; they may be of different devices."""
    return max(s.free_bytes for s in states), max(s.free_cores for s in states)
