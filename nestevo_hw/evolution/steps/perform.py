"""Where a worker begins: from a JSON object to a step's typed request, and from its result back to JSON."""

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nestevo_hw.base.errors import InputError
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
    """Run one task of `STEPS`."""
    task = TaskId(**payload["id"])
    step = STEPS[task.kind]
    context = Context(id=task, config=parse_config(payload["config"], source="task payload"))
    return encoded(step.run(context, decoded(step.request, payload["request"], source=f"request of {task}")))


def encoded(message: Request | Result) -> dict[str, Any]:
    """A message as a JSON object; NaN is null."""
    document: dict[str, Any] = json.loads(_adapter(type(message)).dump_json(message))
    return document


def decoded[M: Request | Result](kind: type[M], document: object, *, source: str) -> M:
    """The inverse of `encoded`.

    Raises:
        InputError: a field is missing or of the wrong type.
    """
    try:
        message: M = _adapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "top level"
        raise InputError(f"{source}: {place}: {first['msg'].lower()} (got {first['input']!r:.60})") from error
    return message


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
