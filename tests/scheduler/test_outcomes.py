import math

import pytest

from nestevo_hw.scheduler.outcomes import Outcome, by_kind
from nestevo_hw.scheduler.task import Task, TaskResult


def outcome(
    name: str, predicted_s: float, actual_s: float, predicted_gb: float, peak_gb: float, kind: str = ""
) -> Outcome:
    task = Task(
        name=name, function="m:f", payload={}, memory_bytes=round(predicted_gb * 1e9), duration_s=predicted_s, kind=kind
    )  # fmt: skip
    result = TaskResult(
        name=name,
        value={},
        submitted_s=1.0,
        started_s=3.0,
        ended_s=3.0 + actual_s,
        worker=0,
        peak_memory_bytes=round(peak_gb * 1e9),
    )
    return Outcome.of(task, result)


def test_line_says_both() -> None:
    line = outcome("w0/mutual/campus", 10.0, 12.5, 1.0, 0.8).line()
    assert line == "w0/mutual/campus: 12.5 s (predicted 10.0), 0.80 GB (predicted 1.00), waited 2.0 s"


def test_event_of_a_run_reads_alike() -> None:
    event = {
        "name": "w0/mutual/campus", "kind": "mutual", "submitted_s": 1.0, "started_s": 3.0, "ended_s": 15.5,
        "predicted_s": 10.0, "predicted_bytes": 10**9, "peak_bytes": 8 * 10**8,
    }  # fmt: skip
    assert Outcome.read(event) == outcome("w0/mutual/campus", 10.0, 12.5, 1.0, 0.8, "mutual")


def test_figures_by_hand() -> None:
    """Off by two, once either way: the typical factor is 2, though the mean ratio would say 1.25."""
    mutual, label = by_kind(
        [
            outcome("w0/mutual/a", 10.0, 20.0, 1.0, 1.5, "mutual"),
            outcome("w0/label/a", 5.0, 5.0, 1.0, 0.5, "label"),
            outcome("w0/mutual/b", 10.0, 5.0, 1.0, 0.5, "mutual"),
        ]
    )
    assert (mutual.kind, mutual.tasks, mutual.over_reservation) == ("mutual", 2, 1)
    assert mutual.typical_duration_factor == pytest.approx(2.0)
    assert mutual.worst_memory_ratio == pytest.approx(1.5)
    assert (mutual.mean_wait_s, mutual.mean_predicted_s, mutual.mean_actual_s) == (2.0, 10.0, 12.5)
    assert label.typical_duration_factor == pytest.approx(1.0)


def test_unpredicted_memory_and_tasks_of_no_kind() -> None:
    (figures,) = by_kind([outcome("alone", 1.0, 0.0, 0.0, 0.1)])
    assert figures.kind == "alone"
    assert figures.worst_memory_ratio == math.inf
    assert by_kind([]) == []
