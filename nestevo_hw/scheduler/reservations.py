"""When a task goes beyond the memory that it reserved, and when the machine has none left to make up for it."""

from nestevo_hw.base.memory import MachineMemory
from nestevo_hw.scheduler.task import Excess, Task

LEEWAY_SHARE = 0.1
LEEWAY_BYTES = 64_000_000
"""A task may take this share or this much more than it reserved, whichever is more: the same work never takes exactly
the same memory, and pages that it copied of those it shares are counted only in part."""
FLOOR_SHARE = 0.05
LEAST_FLOOR_BYTES, MOST_FLOOR_BYTES = 256_000_000, 1_000_000_000
"""With less of the machine's memory left than this share of it, within these bounds, the kernel may soon kill: about
what a task can touch between two looks."""


def exceeds(taken_bytes: int, reserved_bytes: int) -> bool:
    """Whether a task that takes so much has gone beyond its reservation."""
    return taken_bytes > reserved_bytes + max(round(LEEWAY_SHARE * reserved_bytes), LEEWAY_BYTES)


def is_short(memory: MachineMemory) -> bool:
    """Whether the machine is about to run out of memory."""
    floor = min(max(round(FLOOR_SHARE * memory.total_bytes), LEAST_FLOOR_BYTES), MOST_FLOOR_BYTES)
    return memory.available_bytes < floor


def complaint(task: Task, excess: Excess) -> str:
    """One line about a task that takes more than it reserved."""
    return (
        f"task {task.name} takes {excess.peak_bytes / 1e9:.2f} GB of memory but reserved "
        f"{excess.reserved_bytes / 1e9:.2f} GB"
    )


def shortage(excess: Excess, memory: MachineMemory) -> str:
    """Why a task was stopped so that the machine keeps memory."""
    return (
        f"it was stopped as the machine had only {memory.available_bytes / 1e9:.2f} GB of memory left "
        f"({excess.reserved_bytes / 1e9:.2f} GB reserved, {excess.peak_bytes / 1e9:.2f} GB taken)"
    )
