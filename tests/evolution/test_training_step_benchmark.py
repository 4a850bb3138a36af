"""The benchmark of training steps counts what a GPU would be asked for, and shows what it found."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def training_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("training_step")


def test_waits_are_counted_where_a_gpu_has_them(training_step: Any) -> None:
    values, mask = torch.arange(4.0), torch.tensor([True, False, True, False])
    with training_step.Counting() as counting:
        values[mask] = 0.0  # filled in place, without its size
        values[mask]
        float(values.sum())
        values.view(2, 2)
    assert dict(counting.waits) == {"index": 1, "_local_scalar_dense": 1}
    assert counting.launches["sum"] == 1
    assert "view" not in counting.launches


@pytest.mark.parametrize("kind", ["supervised", "mutual", "adversarial"])
def test_a_step_of_the_tiny_detector_is_short_and_does_not_wait(training_step: Any, kind: str) -> None:
    """The one wait is for a mask on the host. Image by image a supervised step took 2284 launches and 215 waits."""
    rows = training_step.counted(training_step.settings()[0], kind)
    assert [row["part"] for row in rows] == list(training_step.PARTS)
    assert sum(row["waits"] for row in rows) <= 1
    assert sum(row["launches"] for row in rows) < {"supervised": 800, "mutual": 1350, "adversarial": 1550}[kind]


def test_what_is_found_is_shown(training_step: Any, capsys: pytest.CaptureFixture[str]) -> None:
    place = {"detector": "tiny", "batch": 8}
    count = place | {"training": "mutual", "part": "loss", "launches": 7, "waits": 1, "copies": 2}
    times = dict.fromkeys((*training_step.PARTS, "step"), 1.25)
    row = place | {"training": "torchvision", "ms": times}
    training_step.show({"device": "some card", "counts": [count], "times": [row]})
    shown = capsys.readouterr().out
    assert "some card" in shown
    assert "tiny, 8 frames" in shown
