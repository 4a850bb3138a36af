"""The same scores from several processes at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import parse, plain
from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.task import Task, TaskResult
from nestevo_hw.studies.noise.bench import Keep, Scores
from nestevo_hw.studies.noise.journal import ScoredTrial
from nestevo_hw.studies.noise.plan import DIGITAL, UNSWEPT, Trial
from nestevo_hw.studies.noise.students import REFERENCE, is_distillation
from nestevo_hw.studies.noise.subject import Setup, Subject

TASK_BYTES = 1_500_000_000
"""Reserved for one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What one process scores."""

    setup: Setup
    """Opened anew; a pair must have been tuned before."""
    folder: str
    """Of the benchmark."""
    trials: tuple[Trial, ...]
    known: tuple[ScoredTrial, ...]
    """Scores from before that these trials pass through."""


def score_in_workers(
    setup: Setup, folder: Path, trials: Sequence[Trial], known: Mapping[Trial, Scores], keep: Keep, *, workers: int
) -> None:
    """Find the scores of all trials that are not known yet.

    Args:
        setup: opened anew in every process; a pair must have been tuned before.
        folder: of the benchmark.
        trials: what to score.
        known: scores from before; `keep` must add to it.
        keep: told of every score, in this thread.
        workers: processes at a time, of one thread each.

    Raises:
        TaskError: a process failed.
    """
    memory = max(workers, 1) * TASK_BYTES
    preload = (*DEFAULT_PRELOAD, __name__)

    def on_result(_: Task, result: TaskResult) -> None:
        for scored in parse(result.value["scores"], tuple[ScoredTrial, ...], "scores"):
            keep(scored.trial, scored.scores)

    # Many sweeps pass through what these score, so they come first and are known to all.
    first = [trial for trial in trials if trial.sweep in (DIGITAL, UNSWEPT, REFERENCE)]
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=memory, workers=workers, preload=preload) as executor:
        for wave in (first, [trial for trial in trials if trial not in set(first)]):
            tasks = [
                _task(number, setup, folder, chunk, known)
                for number, chunk in enumerate(chunks([trial for trial in wave if trial not in known]))
            ]
            if tasks:
                executor.run(tasks, on_result=on_result)


def chunks(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials that share a programming or a crossbar, together; every distillation alone."""
    groups: dict[tuple[object, ...], list[Trial]] = {}
    for trial in trials:
        shared = trial.repeat if trial.sweep == "time_s" else trial.value
        key: tuple[object, ...] = (trial.training, trial.sweep, shared)
        groups.setdefault((*key, trial.repeat) if is_distillation(trial) else key, []).append(trial)
    return list(groups.values())


def score_chunk(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Task: the scores of a `Chunk`."""
    chunk, found = parse(payload, Chunk, "task payload"), dict[Trial, Scores]()
    ready = Subject(chunk.setup).prepare(Path(chunk.folder))
    ready.score(chunk.trials, {scored.trial: scored.scores for scored in chunk.known}, found.__setitem__)
    return {"scores": plain(_scored(found))}


def _task(number: int, setup: Setup, folder: Path, trials: Sequence[Trial], known: Mapping[Trial, Scores]) -> Task:
    useful = {
        trial: scores for trial, scores in known.items()
        if trial.sweep in (DIGITAL, UNSWEPT, REFERENCE) and trial.training == trials[0].training
    }  # fmt: skip
    return Task(
        name=f"{number}/{trials[0].sweep}",
        function=f"{__name__}:score_chunk",
        payload=plain(
            Chunk(setup=setup, folder=str(folder.resolve()), trials=tuple(trials), known=_scored(useful))
        ),
        memory_bytes=TASK_BYTES,
        duration_s=10.0 * len(trials),
    )  # fmt: skip


def _scored(scores: Mapping[Trial, Scores]) -> tuple[ScoredTrial, ...]:
    return tuple(ScoredTrial.of(trial, found) for trial, found in scores.items())
