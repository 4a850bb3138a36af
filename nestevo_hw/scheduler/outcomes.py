"""Predicted against actual, task by task and by kind: how far the scheduler can trust what it plans with."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestevo_hw.scheduler.task import Task, TaskResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a task was predicted to take, and what it took."""

    name: str
    kind: str
    wait_s: float
    """From its submission to its start."""
    predicted_s: float
    actual_s: float
    predicted_bytes: int
    peak_bytes: int
    """Of the memory that was reserved: a GPU's, else the machine's."""

    @classmethod
    def of(cls, task: Task, result: TaskResult) -> "Outcome":
        """Of a task that has ended."""
        return cls(
            name=task.name,
            kind=task.kind or task.name,
            wait_s=result.started_s - result.submitted_s,
            predicted_s=task.duration_s,
            actual_s=result.ended_s - result.started_s,
            predicted_bytes=task.memory_bytes,
            peak_bytes=result.held_bytes,
        )

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> "Outcome":
        """Of a "task" event of a run's metrics.jsonl."""
        gpu_bytes = event.get("gpu_peak_bytes")
        return cls(
            name=event["name"],
            kind=event["kind"],
            wait_s=event["started_s"] - event["submitted_s"],
            predicted_s=event["predicted_s"],
            actual_s=event["ended_s"] - event["started_s"],
            predicted_bytes=event["predicted_bytes"],
            peak_bytes=event["peak_bytes"] if gpu_bytes is None or math.isnan(gpu_bytes) else gpu_bytes,
        )

    @property
    def memory_ratio(self) -> float:
        """Peak / predicted; infinite where nothing was predicted, 0 where nothing was taken either."""
        if self.predicted_bytes:
            return self.peak_bytes / self.predicted_bytes
        return math.inf if self.peak_bytes else 0.0

    def line(self) -> str:
        """For a progress display."""
        return (
            f"{self.name}: {self.actual_s:.1f} s (predicted {self.predicted_s:.1f}), "
            f"{self.peak_bytes / 1e9:.2f} GB (predicted {self.predicted_bytes / 1e9:.2f}), waited {self.wait_s:.1f} s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """Errors of the predictions for one kind of task."""

    kind: str
    tasks: int
    mean_wait_s: float
    mean_predicted_s: float
    mean_actual_s: float
    typical_duration_factor: float
    """exp of the root mean square of ln(actual / predicted): 1 is exact, 2 is off by a factor of two either way."""
    over_reservation: int
    """Tasks whose peak was above the predicted one."""
    worst_memory_ratio: float
    """Largest peak / predicted; infinite where nothing was predicted."""


def by_kind(outcomes: Iterable[Outcome]) -> list[KindFigures]:
    """Figures of each kind, in the order in which the kinds first appear."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.kind].append(outcome)
    return [_figures(kind, found) for kind, found in groups.items()]


def _figures(kind: str, found: Sequence[Outcome]) -> KindFigures:
    # A clock may not resolve the shortest tasks.
    logs = [math.log(max(o.actual_s, 1e-3) / o.predicted_s) for o in found]
    return KindFigures(
        kind=kind,
        tasks=len(found),
        mean_wait_s=statistics.fmean(o.wait_s for o in found),
        mean_predicted_s=statistics.fmean(o.predicted_s for o in found),
        mean_actual_s=statistics.fmean(o.actual_s for o in found),
        typical_duration_factor=math.exp(math.sqrt(statistics.fmean(x * x for x in logs))),
        over_reservation=sum(o.peak_bytes > o.predicted_bytes for o in found),
        worst_memory_ratio=max(o.memory_ratio for o in found),
    )
