"""Where a worker begins: from a JSON object to a step's typed request, and from its result back to JSON."""

from typing import Any

from nestevo_hw.base.documents import parse, plain
from nestevo_hw.crossbar.ieee import ieee_products
from nestevo_hw.evolution.config import parse_config
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.evolution.taskid import TaskId

FUNCTION = f"{__name__}:perform"
"""Of every task of a run, as the scheduler names it."""


def payload(config: dict[str, Any], task: TaskId, request: Request) -> dict[str, Any]:
    """What `perform` is called with."""
    id_ = {"window": task.window, "kind": task.kind, "subject": task.subject}
    return {"config": config, "id": id_, "request": encoded(request)}


def perform(payload: dict[str, Any]) -> dict[str, Any]:
    """Run one task of `STEPS`.

    Products on a GPU are IEEE float32 in digital models, too, so that scores on a CPU and on a GPU are close.
    """
    task = TaskId(**payload["id"])
    step = STEPS[task.kind]
    context = Context(id=task, config=parse_config(payload["config"], source="task payload"))
    request = decoded(step.request, payload["request"], source=f"request of {task}")
    with ieee_products(context.device):
        return encoded(step.run(context, request))


def encoded(message: Request | Result) -> dict[str, Any]:
    """A message as a JSON object; NaN is null."""
    document: dict[str, Any] = plain(message, nan_to_null=True)
    return document


def decoded[M: Request | Result](kind: type[M], document: object, *, source: str, advice: str = "") -> M:
    """The inverse of `encoded`.

    Raises:
        InputError: a field is missing or of the wrong type.
    """
    return parse(document, kind, source, advice=advice)
