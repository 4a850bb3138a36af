"""From a step of the loop to its tasks: predicted, run through the journal, and learned from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.journal import DAMAGED, Journal
from nestevo_hw.evolution.steps.perform import FUNCTION, decoded, payload
from nestevo_hw.evolution.steps.step import Request, Result, Step
from nestevo_hw.evolution.steps.table import AnyStep
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.scheduler.task import Task, TaskFailure, TaskResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished[R: Result]:
    """One finished task: what it returned, and when. Times are seconds since the run began."""

    value: R
    submitted_s: float
    started_s: float
    ended_s: float

    @property
    def ran_s(self) -> float:
        """Seconds at work."""
        return self.ended_s - self.started_s


type Done[R: Result] = Mapping[str, Finished[R]]
"""Finished tasks of one step by terminal or group; those that failed are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a window and its finished tasks."""

    step: AnyStep
    done: Done[Result]


@dataclass(slots=True, kw_only=True, eq=False)
class Batch[Q: Request, R: Result]:
    """One step for each terminal or group, and what became of it."""

    step: Step[Q, R]
    window: int | None
    """Its number, None before the first."""
    requests: Mapping[str, Q]
    """By terminal or group ("" for the only one)."""
    done: Done[R] = field(default_factory=dict)
    """Once it has run."""

    @property
    def ids(self) -> dict[str, TaskId]:
        """Of the tasks, by terminal or group."""
        return {subject: TaskId(self.window, self.step.kind, subject) for subject in self.requests}


class Dispatch:
    """Turns requests into tasks and runs them, all at the scheduler's discretion."""

    def __init__(self, config: RunConfig, journal: Journal, costs: TaskCosts) -> None:
        self._document = config.document()
        self._journal = journal
        self._costs = costs
        self.gains: dict[str, float] = {}
        """Accuracy that each terminal won in its last evolution: what the scheduler expects of the next."""

    def run[Q: Request, R: Result](self, step: Step[Q, R], window: int | None, requests: Mapping[str, Q]) -> Done[R]:
        """Run one step for each terminal or group; see `Batch`.

        Raises:
            InputError: a stored result is damaged or of another version.
        """
        batch = Batch(step=step, window=window, requests=requests)
        self.run_together(batch)
        return batch.done

    def run_together(self, *batches: Batch[Any, Any]) -> None:
        """Run steps side by side that need nothing of one another, so that no worker waits while there is work.

        Raises:
            InputError: a stored result is damaged or of another version.
        """
        tasks = {
            id_: self._task(id_, batch.requests[subject], batch.step.priority)
            for batch in batches
            for subject, id_ in batch.ids.items()
        }
        results = self._journal.run(tasks)
        for batch in batches:
            batch.done = self._finished(batch, results)

    def _finished[R: Result](self, batch: Batch[Any, R], results: Mapping[TaskId, TaskResult | TaskFailure]) -> Done[R]:
        finished: dict[str, Finished[R]] = {}
        for subject, id_ in batch.ids.items():
            result = results[id_]
            self._costs.observe(batch.step.kind, subject, result, batch.requests[subject].steps)
            if isinstance(result, TaskFailure):
                continue
            finished[subject] = Finished(
                value=decoded(
                    batch.step.result, result.value, source=f"{self._journal.path(id_)}: value", advice=DAMAGED
                ),
                submitted_s=result.submitted_s,
                started_s=result.started_s,
                ended_s=result.ended_s,
            )
        return finished

    def _task(self, id_: TaskId, request: Request, priority: int) -> Task:
        cost = self._costs.predict(id_.kind, id_.subject, request.steps)
        return Task(
            name=str(id_),
            kind=id_.kind,
            function=FUNCTION,
            payload=payload(self._document, id_, request),
            memory_bytes=cost.memory_bytes,
            host_bytes=self._costs.predict_host(id_.kind, id_.subject),
            duration_s=cost.duration_s,
            priority=priority,
            expected_gain=self.gains.get(id_.subject),
            guessed=cost.guessed,
        )
