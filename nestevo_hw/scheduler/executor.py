"""Runs tasks on this machine as a policy chooses, in worker processes of their own."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self

from nestevo_hw.errors import ConfigError, TaskError
from nestevo_hw.scheduler.policies import Machine, Policy
from nestevo_hw.scheduler.task import Task, TaskResult
from nestevo_hw.scheduler.workers import Ended, ForkedWorkers, InlineWorkers, Started, Workers

DEFAULT_PRELOAD = ("torch", "torchvision", "aihwkit.nn", "nestevo_hw.evolution.steps")
"""Modules that every worker starts with; a task may import more."""
MOST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """Something happened to a task."""

    kind: Literal["started", "ended", "retried"]
    task: Task
    """With the reservation in force, which a retry enlarges."""
    at_s: float
    """Seconds since the executor's start."""
    message: str = ""
    """Why it is tried again."""


@dataclass(slots=True, kw_only=True)
class _Attempt:
    task: Task
    number: int
    """From 1."""
    submitted_s: float
    slot: int = -1
    started_s: float | None = None


class LocalExecutor:
    """Worker slots of this machine, shared by tasks as a policy chooses.

    Use it as a context manager: leaving it, also by an exception or Ctrl-C, ends every process it started; if this
    program is killed, they notice and end too. A worker that dies or runs out of memory is tried once more with a
    larger reservation.

    Args:
        policy: chooses among waiting tasks, again whenever one ends.
        memory_bytes: that running tasks may reserve together.
        workers: processes at a time, each with as many threads as its task has cores; 0 runs tasks one after another
            in this process.
        on_event: told of each start, end and retry, in this thread.
        timeout_s: longest a task may run, seconds; None for no limit. Not applied in this process (workers=0).
        preload: modules imported once for all workers; takes effect while this program goes on with its own start.

    Raises:
        ConfigError: memory or workers are not positive.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        memory_bytes: int,
        workers: int,
        on_event: Callable[[TaskEvent], None] | None = None,
        timeout_s: float | None = None,
        preload: Sequence[str] = DEFAULT_PRELOAD,
    ) -> None:
        if workers < 0:
            raise ConfigError(f"workers must be 0 (in this process) or more, got {workers}")
        self._machine = Machine(memory_bytes=memory_bytes, cores=max(workers, 1))
        self._policy = policy
        self._on_event = on_event
        self._timeout_s = timeout_s if workers else None
        self._epoch = time.monotonic()
        self._attempts = 0
        self._workers: Workers = ForkedWorkers(preload) if workers else InlineWorkers()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process of this executor; it cannot run tasks any more."""
        self._workers.close()

    def run(
        self, tasks: Sequence[Task], on_result: Callable[[Task, TaskResult], None] | None = None
    ) -> dict[str, TaskResult]:
        """Run tasks and wait for all of them.

        Args:
            tasks: in order of arrival.
            on_result: told of each result as it comes, in this thread.

        Returns:
            Results by task name, in the order of `tasks`.

        Raises:
            ConfigError: a task can never run here, or two share a name.
            TaskError: a task failed; the others were stopped first. Its note holds the worker's traceback.
        """
        self._machine.check(tasks)
        waiting = [_Attempt(task=task, number=1, submitted_s=self._now()) for task in tasks]
        running: dict[int, _Attempt] = {}
        results: dict[str, TaskResult] = {}
        originals = {task.name: task for task in tasks}
        try:
            while waiting or running:
                self._admit(waiting, running)
                for event in self._workers.wait(self._patience_s(running)):
                    if event.id not in running:
                        continue
                    if isinstance(event, Started):
                        running[event.id].started_s = event.at_s - self._epoch
                        self._tell("started", running[event.id].task)
                        continue
                    attempt = running.pop(event.id)
                    result = self._conclude(attempt, event, waiting)
                    if result is not None:
                        results[result.name] = result
                        self._tell("ended", attempt.task)
                        if on_result is not None:
                            on_result(originals[result.name], result)
                self._check_time(running)
        except Exception:
            self._workers.stop(running)
            raise
        except BaseException:
            # Ctrl-C may have cut a message in half, so nothing more can be said to the workers: end them.
            self.close()
            raise
        return {task.name: results[task.name] for task in tasks}

    def _admit(self, waiting: list[_Attempt], running: dict[int, _Attempt]) -> None:
        """Start what the policy chooses; lowest free slots first."""
        chosen = self._machine.admit(self._policy, [a.task for a in waiting], [a.task for a in running.values()])
        if waiting and not running and not chosen:
            raise TaskError(f"policy {self._policy.name!r} starts none of {len(waiting)} tasks on an idle machine")
        by_name = {attempt.task.name: attempt for attempt in waiting}
        for task in chosen:
            attempt = by_name[task.name]
            attempt.slot = self._machine.free_slot([a.slot for a in running.values()])
            self._attempts += 1
            waiting.remove(attempt)
            running[self._attempts] = attempt
            self._workers.start(self._attempts, task)

    def _conclude(self, attempt: _Attempt, end: Ended, waiting: list[_Attempt]) -> TaskResult | None:
        """The result of an attempt that ended; None if the task waits again.

        Raises:
            TaskError: it failed for good.
        """
        task, reply = attempt.task, end.reply or {}
        error = reply.get("error")
        if error is not None and not error["out_of_memory"]:
            failure = TaskError(f"task {task.name} failed: {error['type']}: {error['message']}")
            failure.add_note(f"Traceback of the worker:\n{error['traceback']}")
            raise failure
        if "value" not in reply:
            self._retry(attempt, end, waiting)
            return None
        return TaskResult(
            name=task.name,
            value=reply["value"],
            submitted_s=attempt.submitted_s,
            started_s=end.at_s - self._epoch if attempt.started_s is None else attempt.started_s,
            ended_s=end.at_s - self._epoch,
            worker=attempt.slot,
            peak_memory_bytes=end.peak_bytes,
            shared_memory_bytes=end.shared_bytes,
            attempts=attempt.number,
        )

    def _retry(self, attempt: _Attempt, end: Ended, waiting: list[_Attempt]) -> None:
        """Put the task back in front of the queue with a larger reservation."""
        task, what = attempt.task, _death_of(end)
        held = f"{task.memory_bytes / 1e9:.2f} GB reserved, {end.peak_bytes / 1e9:.2f} GB resident at most"
        if attempt.number >= MOST_ATTEMPTS:
            advice = (
                "use fewer workers, smaller batches or frames, or a machine with more memory"
                if "memory" in what
                else "run it with workers = 0 to see it happen in this process"
            )
            raise TaskError(
                f"task {task.name} failed {attempt.number} times; the last time its worker {what} ({held}); {advice}"
            )
        wanted = max(2 * task.memory_bytes, end.peak_bytes * 5 // 4)
        larger = replace(task, memory_bytes=min(wanted, self._machine.memory_bytes))
        waiting.insert(0, _Attempt(task=larger, number=attempt.number + 1, submitted_s=attempt.submitted_s))
        self._tell("retried", larger, f"its worker {what} ({held})")

    def _patience_s(self, running: dict[int, _Attempt]) -> float | None:
        started = [a.started_s for a in running.values() if a.started_s is not None]
        if self._timeout_s is None or not started:
            return None
        return max(min(started) + self._timeout_s - self._now(), 0.0)

    def _check_time(self, running: dict[int, _Attempt]) -> None:
        for attempt in running.values():
            ran_s = self._now() - attempt.started_s if attempt.started_s is not None else 0.0
            if self._timeout_s is not None and ran_s > self._timeout_s:
                raise TaskError(
                    f"task {attempt.task.name} was stopped after {ran_s:.0f} s, predicted were "
                    f"{attempt.task.duration_s:.0f} s; allow more than {self._timeout_s:.0f} s or make it smaller"
                )

    def _now(self) -> float:
        return time.monotonic() - self._epoch

    def _tell(self, kind: Literal["started", "ended", "retried"], task: Task, message: str = "") -> None:
        if self._on_event is not None:
            self._on_event(TaskEvent(kind=kind, task=task, at_s=self._now(), message=message))


def _death_of(end: Ended) -> str:
    """What happened to a worker that gave no value, as the rest of a sentence."""
    if end.reply is not None:
        first_line = next(iter(str(end.reply["error"]["message"]).splitlines()), "no message")
        return f"ran out of memory: {first_line}"
    if end.status == -signal.SIGKILL:
        return "was killed (SIGKILL, which the kernel sends when memory runs out)"
    if end.status < 0:
        return f"was killed by {signal.Signals(-end.status).name}"
    return f"exited with status {end.status} before it could answer"
