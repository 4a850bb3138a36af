"""The GPU benchmark refuses machines without one, and compares what it says; here with Triton's interpreter."""

import importlib
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from nestevo_hw.crossbar.gpu import launch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu_speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_speed")


def test_without_a_gpu_it_says_so_in_one_line(gpu_speed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(gpu_speed.main, ["--quick"])
    assert done.exit_code == 1
    assert done.output == "Error: torch finds no GPU; run this where there is one\n"
    unknown = CliRunner().invoke(gpu_speed.main, ["--models", "lenet"])
    assert unknown.exit_code == 2
    assert "unknown model 'lenet'" in unknown.output


@pytest.mark.skipif(not launch.interpreted(), reason="the kernel is compiled for a GPU in this run")
def test_every_effect_is_measured_by_every_backend(
    gpu_speed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, cpu = nn.Sequential(nn.Linear(12, 4)).eval(), torch.device("cpu")
    before = torch.backends.cudnn.allow_tf32
    rows = gpu_speed.compare("net", model, torch.rand(3, 12), cpu, 1, time.perf_counter() + 1e6)
    assert torch.backends.cudnn.allow_tf32 == before
    assert [(row["effects"], row["backend"]) for row in rows] == [
        (effect, backend) for effect in gpu_speed.effects() for backend in gpu_speed.BACKENDS
    ]
    assert all(min(row["ratio"], row["ratio_tf32"], row["memory_ratio"]) > 0 for row in rows)
    late = gpu_speed.compare("late", model, torch.rand(3, 12), cpu, 1, time.perf_counter() - 1.0)
    assert {row["left_out"] for row in late} == {"no time left"}
    gpu_speed.show({"card": "some card", "rows": [*rows, *late]})
    shown = capsys.readouterr().out
    assert "on some card, measured" in shown
    assert "no time left" in shown
