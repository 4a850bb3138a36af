"""The table of steps: complete, and every message of it survives JSON."""

import dataclasses
import math
import types
from pathlib import Path
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest

from nestevo_hw.base.errors import InputError
from nestevo_hw.evolution.config import load_preset
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.steps import perform
from nestevo_hw.evolution.steps.table import CAPTURE, EVALUATE, STEPS
from nestevo_hw.evolution.steps.teachers import InspectResult
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.pages.style import LIGHT
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyModel

every_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
LEAVES = {
    int: 3, float: 0.5, str: "before", bool: True, Path: Path("/run/x.safetensors"), type(None): None,
    Branch: Branch(3), LatencyModel: LatencyModel((BranchTime(Branch(3), 0.5),)),
}  # fmt: skip


def made_up(hint):
    """A value of any type that requests use."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in LEAVES:
        return LEAVES[hint]
    if dataclasses.is_dataclass(hint):
        return hint(**{name: made_up(t) for name, t in get_type_hints(hint).items()})
    if origin in (Union, types.UnionType):
        return made_up(arguments[0])
    if origin is tuple:
        return (made_up(arguments[0]),) * 2
    if origin is Literal:
        return arguments[0]
    return {made_up(arguments[0]): made_up(arguments[1])}


@every_step
def test_messages_are_the_same_after_json(step):
    request = made_up(step.request)
    assert perform.decoded(step.request, perform.encoded(request), source="test") == request
    result = step.typical(request)
    assert isinstance(result, step.result)
    assert perform.decoded(step.result, perform.encoded(result), source="test") == result


@every_step
def test_lines_are_complete(step):
    assert hasattr(LIGHT, step.colour)
    assert len(step.wording) > 5
    assert step.typical_s > 0
    assert STEPS[step.kind] is step


def test_methods_name_steps_that_exist():
    assert {kind for method in METHODS.values() for kind in method.kinds} <= set(STEPS)


def test_nan_is_null_and_a_wrong_field_is_named_with_its_file():
    assert perform.encoded(InspectResult(score=math.nan))["score"] is None
    document = perform.encoded(EVALUATE.typical(made_up(EVALUATE.request)))
    document["scores"][1]["frames"] = "many"
    with pytest.raises(InputError, match=r"results/w0.evaluate.a.json: scores\[1\].frames: .*integer.* \(got 'many'\)"):
        perform.decoded(EVALUATE.result, document, source="results/w0.evaluate.a.json")
    with pytest.raises(InputError, match=r"x\.json: spacing_s: .*required"):
        perform.decoded(CAPTURE.result, {"upload_bytes": 1, "frames": 1, "fault": None}, source="x.json")


def test_a_worker_finds_the_step_by_its_kind(monkeypatch):
    seen = []

    def run(context, request):
        seen.append((context, request))
        return InspectResult(score=0.5)

    step = dataclasses.replace(STEPS["inspect"], run=run)
    monkeypatch.setitem(STEPS, "inspect", step)
    config, request = load_preset("digits"), made_up(step.request)
    answer = perform.perform(perform.payload(config.document(), TaskId(1, "inspect", "north"), request))
    assert answer["score"] == 0.5
    ((context, asked),) = seen
    assert (context.id, context.config, asked) == (TaskId(1, "inspect", "north"), config, request)
    assert (context.seed.run, context.seed.name) == (config.seed, "w1/inspect/north")
