"""From a step of the loop to its tasks: predicted, run through the journal, and learned from."""

from collections.abc import Mapping
from typing import Any

from nestevo_hw.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.scheduler.task import Task, TaskResult

Results = Mapping[str, TaskResult]
"""Results of one kind of task, by terminal; "" where the task serves all."""


class Dispatch:
    """Turns payloads into tasks of `evolution/steps.py` and runs them, all at the scheduler's discretion."""

    def __init__(self, config: RunConfig, journal: Journal, costs: TaskCosts) -> None:
        self._document = config.document()
        self._journal = journal
        self._costs = costs

    def run(
        self, kind: str, window: int | None, payloads: Mapping[str, Mapping[str, Any]], *, function: str = ""
    ) -> Results:
        """Run one kind of task for each terminal (or once, for "").

        Args:
            kind: of the task; its name in the journal.
            window: number of the window, None before the first.
            payloads: of each task, without what all tasks share.
            function: of `evolution/steps.py`, where it is not called like the kind.
        """
        tasks = {terminal: self._task(kind, window, terminal, p, function or kind) for terminal, p in payloads.items()}
        results = self._journal.run(list(tasks.values()), window=window)
        for terminal, task in tasks.items():
            self._costs.observe(kind, terminal, results[task.name], task.payload.get("steps"))
        return {terminal: results[task.name] for terminal, task in tasks.items()}

    def run_one(self, kind: str, window: int | None, payload: Mapping[str, Any]) -> Results:
        """Run one task that serves all terminals."""
        return self.run(kind, window, {"": payload})

    def _task(self, kind: str, window: int | None, terminal: str, payload: Mapping[str, Any], function: str) -> Task:
        name = "/".join(["setup" if window is None else f"w{window}", kind, *([terminal] if terminal else [])])
        cost = self._costs.predict(kind, terminal, payload.get("steps"))
        return Task(
            name=name,
            function=f"nestevo_hw.evolution.steps:{function}",
            payload={"config": self._document, "name": name, "terminal": terminal, "window": window, **payload},
            memory_bytes=cost.memory_bytes,
            duration_s=cost.duration_s,
        )
