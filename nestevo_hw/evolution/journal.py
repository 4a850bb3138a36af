"""Memory of a run: which tasks have finished or failed, and what happened, so that a killed run can go on."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import parse, plain, read_json, write_json
from nestevo_hw.base.errors import ConfigError, TaskError
from nestevo_hw.base.jsonlines import append_line
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.report.records.event import Event, event_document
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.work import Exceeded, Failure, TaskRun
from nestevo_hw.scheduler.executor import Executor
from nestevo_hw.scheduler.task import Task, TaskFailure, TaskResult

SURVIVABLE = ("", "InputError", "MissingFileError", "TaskError")
"""Failures that a run outlives: a worker that died or ran too long, a bad stream or file, a training that diverged.
Anything else, such as a full disk or a lost file, would hit the next task as well and ends the run, which can be
resumed."""


DAMAGED = "delete it and resume again"
"""What to do about a result that cannot be read."""


class Journal:
    """Runs tasks once: a task whose result lies in the run folder is not run again.

    A result is written when its task has ended and its files are in place, under a temporary name and renamed, so
    a kill at any moment leaves either a finished task or none. A failure that the run outlives is kept as well, so that
    a resumed run takes the same turns; `forget_deaths` makes an exception of workers that died. Every session logs all
    events anew, in the same order.
    """

    def __init__(self, layout: RunLayout, executor: Executor, on_task: Callable[[Task], None]) -> None:
        self._layout = layout
        self._executor = executor
        self._on_task = on_task
        self.earlier_s = max((r.ended_s for r in self._stored()), default=0.0)
        """When the last task of an earlier session ended, seconds; times go on from there."""
        layout.metrics.unlink(missing_ok=True)

    def run(self, tasks: Mapping[TaskId, Task]) -> dict[TaskId, TaskResult | TaskFailure]:
        """How tasks ended, from the folder where they have, else by running them.

        Raises:
            TaskError: a task failed before the first window, or in a way that the next one would as well.
            ConfigError: by a task it turned out that the configuration cannot be run.
        """
        done = {id_: found for id_ in tasks if (found := self._finished(id_)) is not None}
        waiting = {task.name: id_ for id_, task in tasks.items() if id_ not in done}
        for id_ in done:
            self._on_task(tasks[id_])

        def keep(task: Task, result: TaskResult) -> None:
            done[waiting[task.name]] = self._keep(waiting[task.name], task, result)

        def fail(task: Task, failure: TaskFailure) -> None:
            if waiting[task.name].window is None or failure.error_type not in SURVIVABLE:
                refused = failure.error_type == ConfigError.__name__
                error = ConfigError(failure.reason) if refused else TaskError(failure.reason)
                error.add_note(f"Traceback of the worker:\n{failure.traceback}")
                raise error
            write_json(self.path(waiting[task.name]), {"failed": plain(failure)})
            done[waiting[task.name]] = failure

        if waiting:
            self._executor.run([tasks[id_] for id_ in waiting.values()], on_result=keep, on_failure=fail)
        for id_, task in tasks.items():
            for event in _records(id_, task, done[id_]):
                self.log(event)
        return {id_: done[id_] for id_ in tasks}

    def log(self, event: Event) -> None:
        """Append one event to metrics.jsonl."""
        append_line(self._layout.metrics, event_document(event))

    def path(self, id_: TaskId) -> Path:
        """Where a task's result is kept."""
        return self._layout.results / id_.file_name

    def _keep(self, id_: TaskId, task: Task, result: TaskResult) -> TaskResult:
        """Store a result; its times go on from where the last session ended."""
        shifted = replace(
            result,
            submitted_s=result.submitted_s + self.earlier_s,
            started_s=result.started_s + self.earlier_s,
            ended_s=result.ended_s + self.earlier_s,
        )
        write_json(self.path(id_), plain(shifted))
        self._on_task(task)
        return shifted

    def _finished(self, id_: TaskId) -> TaskResult | TaskFailure | None:
        path = self.path(id_)
        return read_result(path) if path.exists() else None

    def _stored(self) -> Iterator[TaskResult]:
        for path in self._layout.results.glob("*.json"):
            found = read_result(path)
            if isinstance(found, TaskResult):
                yield found


def _number(id_: TaskId) -> int:
    return SETUP if id_.window is None else id_.window


def _records(id_: TaskId, task: Task, ended: TaskResult | TaskFailure) -> Iterator[Event]:
    """What there is to tell of a task that has ended."""
    terminal = id_.subject or None
    if isinstance(ended, TaskResult):
        yield _task_run(id_, task, ended)
    else:
        yield Failure(window=_number(id_), kind=id_.kind, terminal=terminal, reason=ended.reason)
    if ended.excess is not None:
        yield Exceeded(
            window=_number(id_),
            kind=id_.kind,
            terminal=terminal,
            reserved_bytes=ended.excess.reserved_bytes,
            peak_bytes=ended.excess.peak_bytes,
            stopped=ended.excess.stopped,
        )


def _task_run(id_: TaskId, task: Task, result: TaskResult) -> TaskRun:
    return TaskRun(
        window=_number(id_),
        name=task.name,
        kind=id_.kind,
        terminal=id_.subject or None,
        submitted_s=result.submitted_s,
        started_s=result.started_s,
        ended_s=result.ended_s,
        worker=result.worker,
        predicted_s=task.duration_s,
        predicted_bytes=task.memory_bytes,
        guessed=task.guessed,
        peak_bytes=result.peak_memory_bytes,
        gpu_peak_bytes=math.nan if result.gpu_peak_bytes is None else result.gpu_peak_bytes,
    )


def read_result(path: Path) -> TaskResult | TaskFailure:
    """How a task ended, from its file.

    Raises:
        InputError: the file is damaged.
    """
    document = read_json(path, dict[str, Any], advice=DAMAGED)
    if "failed" in document:
        return parse(document["failed"], TaskFailure, f"{path}: failed", advice=DAMAGED)
    return parse(document, TaskResult, str(path), advice=DAMAGED)
