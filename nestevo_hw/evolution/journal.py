"""Memory of a run: which tasks have finished or failed, and what happened, so that a killed run can go on."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.errors import InputError, TaskError
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.scheduler.executor import Executor
from nestevo_hw.scheduler.task import Task, TaskFailure, TaskResult

Event = dict[str, Any]
SURVIVABLE = ("", "InputError", "TaskError")
"""Failures that a run outlives: a worker that died or ran too long, a bad stream or file, a training that diverged.
Anything else, such as a full disk, would hit the next task as well and ends the run, which can be resumed."""


class Journal:
    """Runs tasks once: a task whose result lies in the run folder is not run again.

    A result is written when its task has ended and its files are in place, under a temporary name and renamed, so
    a kill at any moment leaves either a finished task or none. A failure that the run outlives is kept as well, so that
    a resumed run takes the same turns. Every session tells all events anew, in the same order.
    """

    def __init__(self, layout: RunLayout, executor: Executor, on_task: Callable[[Task], None]) -> None:
        self._layout = layout
        self._executor = executor
        self._on_task = on_task
        self._offset_s = max((r.ended_s for r in self._stored()), default=0.0)
        layout.metrics.unlink(missing_ok=True)

    def run(self, tasks: Sequence[Task], *, window: int | None) -> dict[str, TaskResult]:
        """Results of tasks by name, from the folder where they have finished, else by running them.

        A task of a window that fails for good is told of and missing in the results.

        Raises:
            TaskError: a task failed before the first window, or in a way that the next one would as well.
        """
        done = {t.name: found for t in tasks if (found := self._finished(t.name)) is not None}
        waiting = [t for t in tasks if t.name not in done]
        for task in tasks:
            if task.name in done:
                self._on_task(task)

        def keep(task: Task, result: TaskResult) -> None:
            done[task.name] = self._keep(task, result)

        def fail(task: Task, failure: TaskFailure) -> None:
            if window is None or failure.error_type not in SURVIVABLE:
                error = TaskError(failure.reason)
                error.add_note(f"Traceback of the worker:\n{failure.traceback}")
                raise error
            write_json(self._path(task.name), {"failed": asdict(failure)})
            done[task.name] = failure

        if waiting:
            self._executor.run(waiting, on_result=keep, on_failure=fail)
        results = {}
        for task in tasks:
            found = done[task.name]
            if isinstance(found, TaskFailure):
                self._tell_failure(task, found, window)
            else:
                self._tell_task(task, found, window)
                results[task.name] = found
        return results

    def event(self, event: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        """Append one event to metrics.jsonl."""
        with self._layout.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **fields}) + "\n")

    def _keep(self, task: Task, result: TaskResult) -> TaskResult:
        """Store a result; its times go on from where the last session ended."""
        shifted = replace(
            result,
            submitted_s=result.submitted_s + self._offset_s,
            started_s=result.started_s + self._offset_s,
            ended_s=result.ended_s + self._offset_s,
        )
        write_json(self._path(task.name), asdict(shifted))
        self._on_task(task)
        return shifted

    def _tell_task(self, task: Task, result: TaskResult, window: int | None) -> None:
        _, kind, *subject = task.name.split("/")
        self.event(
            "task",
            window=window,
            name=task.name,
            kind=kind,
            terminal=subject[0] if subject else None,
            submitted_s=result.submitted_s,
            started_s=result.started_s,
            ended_s=result.ended_s,
            worker=result.worker,
            predicted_s=task.duration_s,
            predicted_bytes=task.memory_bytes,
            peak_bytes=result.peak_memory_bytes,
        )

    def _tell_failure(self, task: Task, failure: TaskFailure, window: int | None) -> None:
        _, kind, *subject = task.name.split("/")
        terminal = subject[0] if subject else None
        self.event("failure", window=window, kind=kind, terminal=terminal, reason=failure.reason)

    def _path(self, name: str) -> Path:
        return self._layout.results / f"{name.replace('/', '.')}.json"

    def _finished(self, name: str) -> TaskResult | TaskFailure | None:
        path = self._path(name)
        return _read(path) if path.exists() else None

    def _stored(self) -> Iterator[TaskResult]:
        for path in self._layout.results.glob("*.json"):
            found = _read(path)
            if isinstance(found, TaskResult):
                yield found


def _read(path: Path) -> TaskResult | TaskFailure:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return TaskFailure(**document["failed"]) if "failed" in document else TaskResult(**document)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not the result of a task ({error}); delete it and resume again") from error
