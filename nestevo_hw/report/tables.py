"""The summary of a run as a table for the terminal."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from nestevo_hw.report.records import TaskRun
from nestevo_hw.report.summary import number, relative_gain, section
from nestevo_hw.report.wording import duration, percent, score
from nestevo_hw.scheduler.outcomes import Outcome, by_kind


def summary_table(document: Mapping[str, Any]) -> Table:
    """Accuracy of every terminal and the teacher before and after evolving.

    Args:
        document: the summary of `nestevo-hw evolve`, or of an unfinished run.
    """
    gain, delay = section(document, "gain"), section(document, "delay_s")
    table = Table(
        title=f"{document.get('metric', 'accuracy')}, mean over the windows in which a model evolved",
        caption=f"mean evolution delay {duration(delay.get('mean'))} (links and crossbar modelled), "
        f"wall time {duration(document.get('wall_s'))}",
    )
    table.add_column("model")
    for name in ("pruning", "before", "after", "gain", "ONNX", "life cycle"):
        table.add_column(name, justify="right")
    for row in document.get("terminals") or ():
        before, after = number(row.get("before")), number(row.get("after"))
        table.add_row(
            str(row.get("name")),
            str(row.get("pruning") or ""),
            score(before),
            score(after),
            _coloured(relative_gain(before, after)),
            score(row.get("onnx_after")),
            score(row.get("lcp")),
        )
    table.add_section()
    teacher = section(document, "teacher")
    table.add_row("terminals, mean", "", "", "", _coloured(gain.get("terminals_relative")), "", "")
    scores = score(teacher.get("before")), score(teacher.get("after"))
    table.add_row("teacher", "", *scores, _coloured(gain.get("teacher_relative")), "", "")
    return table


def prediction_table(tasks: Iterable[TaskRun]) -> Table:
    """What each kind of task was predicted to take, and what it took.

    Args:
        tasks: of a run, those without times left out.
    """
    outcomes = [
        Outcome.read(asdict(task)) for task in tasks if math.isfinite(task.ended_s) and math.isfinite(task.predicted_s)
    ]
    table = Table(title="tasks, predicted against actual (means)")
    table.add_column("kind")
    for name in ("tasks", "wait", "predicted", "actual", "off by", "worst memory"):
        table.add_column(name, justify="right")
    for kind in by_kind(outcomes):
        table.add_row(
            kind.kind,
            str(kind.tasks),
            duration(kind.mean_wait_s),
            duration(kind.mean_predicted_s),
            duration(kind.mean_actual_s),
            f"x {kind.typical_duration_factor:.2f}",
            f"{kind.worst_memory_ratio:.0%} of predicted",
        )
    return table


def _coloured(gain: float | None) -> str:
    if gain is None:
        return percent(gain)
    return f"[{'green' if gain > 0 else 'red'}]{percent(gain)}[/]"
