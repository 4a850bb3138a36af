"""Runs in which everything of the driver is real and no task computes: each returns what its like returned once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.grouping import form_groups
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.loop import EvolutionLoop, Windows, every_window
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.perform import decoded, encoded
from nestevo_hw.evolution.steps.step import Request, Result
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.profiler.target import CPU
from nestevo_hw.scheduler.task import Task, TaskFailure, TaskResult


@dataclass(frozen=True, slots=True)
class Asked:
    """One task, in the words of the loop."""

    id: TaskId
    request: Request

    @classmethod
    def of(cls, task: Task) -> "Asked":
        """From a task as the scheduler has it."""
        id_ = TaskId(**task.payload["id"])
        request = decoded(STEPS[id_.kind].request, task.payload["request"], source=task.name)
        return cls(id=id_, request=request)


def typical(asked: Asked) -> Result:
    """What a task of its kind returns."""
    result: Result = STEPS[asked.id.kind].typical(asked.request)
    return result


@dataclass
class SimulatedExecutor:
    """Answers at once; its clock runs as if `workers` processes had done the work, in order of arrival.

    Satisfies `nestevo_hw.scheduler.executor.Executor`.
    """

    answers: Callable[[Asked], Result] = typical
    fails: Callable[[Asked], TaskFailure | None] = lambda _: None
    """Says which tasks fail for good."""
    workers: int = 4
    remember: bool = False
    """Whether to keep what was asked."""
    asked: list[Asked] = field(default_factory=list)
    now_s: float = 0.0
    busy_s: float = 0.0

    def __enter__(self) -> Self:
        """The executor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def run(
        self,
        tasks: Sequence[Task],
        on_result: Callable[[Task, TaskResult], None] | None = None,
        on_failure: Callable[[Task, TaskFailure], None] | None = None,
    ) -> dict[str, TaskResult]:
        """See `Executor.run`."""
        free, start, results = [self.now_s] * self.workers, self.now_s, {}
        for task in tasks:
            asked = Asked.of(task)
            if self.remember:
                self.asked.append(asked)
            failure = self.fails(asked)
            if failure is not None and on_failure is not None:
                on_failure(task, failure)
                continue
            worker, seconds = free.index(min(free)), STEPS[asked.id.kind].typical_s
            began, free[worker] = free[worker], free[worker] + seconds
            self.busy_s += seconds
            results[task.name] = TaskResult(
                name=task.name, value=encoded(self.answers(asked)), submitted_s=start, started_s=began,
                ended_s=free[worker], worker=worker, peak_memory_bytes=600_000_000,
            )  # fmt: skip
            if on_result is not None:
                on_result(task, results[task.name])
        self.now_s = max(free)
        return results

    def cancel(self, names: Sequence[str]) -> None:
        """Nothing runs between two calls."""

    def close(self) -> None:
        """Nothing to close."""

    def requests[Q: Request](self, kind: type[Q]) -> list[Q]:
        """Remembered requests of one kind, in order."""
        return [asked.request for asked in self.asked if isinstance(asked.request, kind)]


def drive(config: RunConfig, folder: Path, executor: SimulatedExecutor, windows: Windows = every_window) -> Server:
    """A whole run with simulated tasks, from an empty folder or one to resume."""
    layout = RunLayout(folder)
    layout.windows.mkdir(parents=True, exist_ok=True)
    journal, costs = Journal(layout, executor, lambda _: None), TaskCosts(config, CPU)
    dispatch = Dispatch(config, journal, costs)
    server = Server(config, layout, journal, dispatch, costs, form_groups(config, layout, dispatch))
    EvolutionLoop(server, METHODS[config.method]).run(windows)
    return server
