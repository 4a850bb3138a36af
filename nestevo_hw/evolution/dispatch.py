"""From a step of the loop to its tasks: predicted, run through the journal, and learned from."""

from collections.abc import Mapping
from dataclasses import dataclass

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.journal import DAMAGED, Journal
from nestevo_hw.evolution.steps.perform import FUNCTION, decoded, payload
from nestevo_hw.evolution.steps.step import Request, Result, Step
from nestevo_hw.evolution.steps.table import AnyStep
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.scheduler.task import Task, TaskFailure


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


class Dispatch:
    """Turns requests into tasks and runs them, all at the scheduler's discretion."""

    def __init__(self, config: RunConfig, journal: Journal, costs: TaskCosts) -> None:
        self._document = config.document()
        self._journal = journal
        self._costs = costs
        self.gains: dict[str, float] = {}
        """Accuracy that each terminal won in its last evolution: what the scheduler expects of the next."""

    def run[Q: Request, R: Result](self, step: Step[Q, R], window: int | None, requests: Mapping[str, Q]) -> Done[R]:
        """Run one step for each terminal or group.

        Args:
            step: line of the table of steps.
            window: number of the window, None before the first.
            requests: by terminal or group ("" for the only one).

        Raises:
            InputError: a stored result is damaged or of another version.
        """
        ids = {subject: TaskId(window, step.kind, subject) for subject in requests}
        tasks = {ids[subject]: self._task(ids[subject], request) for subject, request in requests.items()}
        results = self._journal.run(tasks, window=window)
        finished: dict[str, Finished[R]] = {}
        for subject, request in requests.items():
            result = results[ids[subject]]
            self._costs.observe(step.kind, subject, result, request.steps)
            if isinstance(result, TaskFailure):
                continue
            finished[subject] = Finished(
                value=decoded(
                    step.result, result.value, source=f"{self._journal.path(ids[subject])}: value", advice=DAMAGED
                ),
                submitted_s=result.submitted_s,
                started_s=result.started_s,
                ended_s=result.ended_s,
            )
        return finished

    def _task(self, id_: TaskId, request: Request) -> Task:
        cost = self._costs.predict(id_.kind, id_.subject, request.steps)
        return Task(
            name=str(id_),
            kind=id_.kind,
            function=FUNCTION,
            payload=payload(self._document, id_, request),
            memory_bytes=cost.memory_bytes,
            host_bytes=self._costs.predict_host(id_.kind, id_.subject),
            duration_s=cost.duration_s,
            expected_gain=self.gains.get(id_.subject),
            guessed=cost.guessed,
        )
