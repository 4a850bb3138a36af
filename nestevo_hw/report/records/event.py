"""What a run can tell: one typed record for each kind of event in metrics.jsonl."""

from typing import Any

from nestevo_hw.base.documents import plain
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.recording import Damage, Labels
from nestevo_hw.report.records.teacher import (
    Benefit,
    Calibration,
    Decision,
    Deploy,
    Drift,
    Generator,
    Groups,
    Program,
    Refresh,
)
from nestevo_hw.report.records.terminal import (
    Absent,
    Accuracy,
    Borrowed,
    Elastic,
    Lifecycle,
    Moving,
    Recall,
    Related,
    Reuse,
    Rollback,
    Select,
    Sense,
)
from nestevo_hw.report.records.work import Exceeded, Failure, TaskRun

Event = (
    Accuracy
    | Drift
    | Decision
    | Benefit
    | Generator
    | TaskRun
    | Program
    | Refresh
    | Deploy
    | Lifecycle
    | Groups
    | Sense
    | Reuse
    | Select
    | Elastic
    | Recall
    | Absent
    | Borrowed
    | Moving
    | Related
    | Rollback
    | Failure
    | Exceeded
    | Labels
    | Damage
    | Calibration
)


def event_name(kind: type[Event]) -> str:
    """What a kind of event is called in metrics.jsonl."""
    return "task" if kind is TaskRun else kind.__name__.lower()


def event_document(event: Event) -> dict[str, Any]:
    """An event as metrics.jsonl holds it: null for NaN and for the window before the first."""
    window = None if event.window == SETUP else event.window
    return {"event": event_name(type(event)), **plain(event, nan_to_null=True), "window": window}
