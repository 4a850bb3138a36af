"""What to say about a worker that died."""

import signal

from nestevo_hw.scheduler.task import Task
from nestevo_hw.scheduler.workers import Ended

ADVICE = "use fewer workers, smaller batches or frames, or a machine with more memory"
"""Where memory is what was missing."""


def death_of(task: Task, end: Ended, *, gpu: bool) -> str:
    """What happened to a task's worker that gave no value, and what memory it had.

    Args:
        task: with the reservation in force.
        end: of its worker.
        gpu: whether it reserved memory of a GPU.
    """
    what, taken_bytes = (" of GPU memory", end.gpu_bytes) if gpu else ("", end.peak_bytes)
    taken = "what it took is not known" if taken_bytes is None else f"{taken_bytes / 1e9:.2f} GB taken at most"
    return f"its worker {_cause(end)} ({task.memory_bytes / 1e9:.2f} GB{what} reserved, {taken})"


def last_words(task: Task, attempts: int, end: Ended, *, gpu: bool) -> str:
    """Why a task is not tried again, and what the user can do."""
    advice = ADVICE if "memory" in _cause(end) else "run it with workers = 0 to see it happen in this process"
    return f"task {task.name} failed {attempts} times; the last time {death_of(task, end, gpu=gpu)}; {advice}"


def _cause(end: Ended) -> str:
    if end.reply is not None:
        first_line = next(iter(str(end.reply["error"]["message"]).splitlines()), "no message")
        return f"ran out of memory: {first_line}"
    if end.status == -signal.SIGKILL:
        return "was killed (SIGKILL, which the kernel sends when memory runs out)"
    if end.status < 0:
        return f"was killed by {signal.Signals(-end.status).name}"
    return f"exited with status {end.status} before it could answer"
