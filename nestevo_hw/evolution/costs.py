"""What a run's tasks are expected to cost, before each runs: dry runs first, then what its like has cost."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from nestevo_hw.scheduler.task import TaskResult

FIRST_GUESS_S = 3.0
"""Duration of a kind of task nothing is known about yet, seconds."""
FIRST_GUESS_BYTES = 700_000_000
"""Resident memory of a worker with its libraries and a small model; measured about 0.5 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Predicted needs of one task."""

    memory_bytes: int
    """Peak resident memory of the worker."""
    duration_s: float


class TaskCosts:
    """Predictions by kind of task and terminal.

    Training tasks start from a dry run of one step at the terminal's own model, scaled by the number of steps. Every
    finished task corrects the predictions for its like: durations by their mean ratio, memory by the largest peak.
    """

    def __init__(self, steps: Mapping[str, int]) -> None:
        self._steps = dict(steps)
        self._dry: dict[tuple[str, str], Cost] = {}
        self._seen: dict[tuple[str, str], list[TaskResult]] = defaultdict(list)

    def learn(self, profiles: Mapping[str, TaskResult]) -> None:
        """Take over dry runs: results of the task `profile`, by terminal."""
        for terminal, result in profiles.items():
            for kind, step in result.value.items():
                duration_s = step["setup_s"] + self._steps[kind] * step["step_s"]
                self._dry[kind, terminal] = Cost(memory_bytes=step["memory_bytes"], duration_s=duration_s)

    def observe(self, kind: str, terminal: str, result: TaskResult) -> None:
        """Learn from a finished task."""
        self._seen[kind, terminal].append(result)

    def predict(self, kind: str, terminal: str) -> Cost:
        """Expected needs of the next task of this kind for this terminal."""
        own = self._seen[kind, terminal]
        like = own or [r for (k, _), rows in self._seen.items() if k == kind for r in rows]
        dry = self._dry.get((kind, terminal))
        if dry is not None and not own:
            return dry
        if not like:
            return Cost(memory_bytes=FIRST_GUESS_BYTES, duration_s=FIRST_GUESS_S)
        duration_s = sum(r.ended_s - r.started_s for r in like) / len(like)
        return Cost(memory_bytes=max(r.peak_memory_bytes for r in like), duration_s=max(duration_s, 1e-3))
