"""From a step of the loop to its tasks: predicted, run through the journal, and learned from."""

from collections.abc import Callable, Mapping
from typing import Any

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.steps.payload import Payload, Result
from nestevo_hw.scheduler.task import Task, TaskResult

Step = Callable[[Payload], Result]
Results = Mapping[str, TaskResult]
"""Results of one kind of task, by terminal or group; those that failed are missing."""


class Dispatch:
    """Turns payloads into tasks of `evolution/steps` and runs them, all at the scheduler's discretion."""

    def __init__(self, config: RunConfig, journal: Journal, costs: TaskCosts) -> None:
        self._document = config.document()
        self._journal = journal
        self._costs = costs
        self.gains: dict[str, float] = {}
        """Accuracy that each terminal won in its last evolution: what the scheduler expects of the next."""

    def run(
        self, step: Step, window: int | None, payloads: Mapping[str, Mapping[str, Any]], *, kind: str = ""
    ) -> Results:
        """Run one step for each terminal or group.

        Args:
            step: function of `evolution/steps`.
            window: number of the window, None before the first.
            payloads: of each task by terminal or group ("" for the only one), without what all tasks share.
            kind: of the task, its name in the journal, where it is not called like the step.
        """
        kind = kind or step.__name__
        tasks = {subject: self._task(step, kind, window, subject, payload) for subject, payload in payloads.items()}
        results = self._journal.run(list(tasks.values()), window=window)
        found = {subject: results[task.name] for subject, task in tasks.items() if task.name in results}
        for subject, result in found.items():
            self._costs.observe(kind, subject, result, tasks[subject].payload.get("steps"))
        return found

    def _task(self, step: Step, kind: str, window: int | None, subject: str, payload: Mapping[str, Any]) -> Task:
        name = "/".join(["setup" if window is None else f"w{window}", kind, *([subject] if subject else [])])
        cost = self._costs.predict(kind, subject, payload.get("steps"))
        return Task(
            name=name,
            function=f"{step.__module__}:{step.__name__}",
            payload={"config": self._document, "name": name, "terminal": subject, "window": window, **payload},
            memory_bytes=cost.memory_bytes,
            duration_s=cost.duration_s,
            expected_gain=self.gains.get(subject),
        )
