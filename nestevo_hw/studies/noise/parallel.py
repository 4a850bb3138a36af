"""The same scores from several processes at once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.task import Task, TaskResult
from nestevo_hw.studies.noise.bench import Keep, Scores
from nestevo_hw.studies.noise.plan import AS_PROGRAMMED, DIGITAL, Cell
from nestevo_hw.studies.noise.students import REFERENCE, is_lesson
from nestevo_hw.studies.noise.subject import Setup, Subject

TASK_BYTES = 1_500_000_000
"""Reserved for one process."""


def score_in_workers(
    setup: Setup, folder: Path, cells: Sequence[Cell], known: Mapping[Cell, Scores], keep: Keep, *, workers: int
) -> None:
    """Find the scores of all cells that are not known yet.

    Args:
        setup: opened anew in every process; a pair must have been tuned before.
        folder: of the benchmark.
        cells: what to score.
        known: scores from before; `keep` must add to it.
        keep: told of every score, in this thread.
        workers: processes at a time, of one thread each.

    Raises:
        TaskError: a process failed.
    """
    memory = max(workers, 1) * TASK_BYTES
    preload = (*DEFAULT_PRELOAD, __name__)

    def on_result(_: Task, result: TaskResult) -> None:
        for entry in result.value["scores"]:
            keep(Cell(**entry["cell"]), entry["scores"])

    # Many sweeps pass through what these score, so they come first and are known to all.
    first = [cell for cell in cells if cell.sweep in (DIGITAL, AS_PROGRAMMED, REFERENCE)]
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=memory, workers=workers, preload=preload) as executor:
        for wave in (first, [cell for cell in cells if cell not in set(first)]):
            tasks = [
                _task(number, setup, folder, chunk, known)
                for number, chunk in enumerate(chunks([cell for cell in wave if cell not in known]))
            ]
            if tasks:
                executor.run(tasks, on_result=on_result)


def chunks(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that share a programming or a crossbar, together; every lesson alone."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        key: tuple[object, ...] = (cell.training, cell.sweep, cell.repeat if cell.sweep == "time_s" else cell.value)
        groups.setdefault((*key, cell.repeat) if is_lesson(cell) else key, []).append(cell)
    return list(groups.values())


def score_chunk(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Task: the scores of some cells, with setup, folder, cells and known scores from a payload."""
    found: dict[Cell, Scores] = {}
    known = {Cell(**entry["cell"]): entry["scores"] for entry in payload["known"]}
    ready = Subject(Setup.of(payload["setup"])).prepare(Path(payload["folder"]))
    ready.score([Cell(**cell) for cell in payload["cells"]], known, found.__setitem__)
    return {"scores": _entries(found)}


def _task(number: int, setup: Setup, folder: Path, cells: Sequence[Cell], known: Mapping[Cell, Scores]) -> Task:
    useful = {
        cell: scores for cell, scores in known.items()
        if cell.sweep in (DIGITAL, AS_PROGRAMMED, REFERENCE) and cell.training == cells[0].training
    }  # fmt: skip
    return Task(
        name=f"{number}/{cells[0].sweep}",
        function=f"{__name__}:score_chunk",
        payload={
            "setup": asdict(setup), "folder": str(folder.resolve()), "cells": [asdict(cell) for cell in cells],
            "known": _entries(useful),
        },
        memory_bytes=TASK_BYTES,
        duration_s=10.0 * len(cells),
    )  # fmt: skip


def _entries(scores: Mapping[Cell, Scores]) -> list[dict[str, Any]]:
    return [{"cell": asdict(cell), "scores": found} for cell, found in scores.items()]
