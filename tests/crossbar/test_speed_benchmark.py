"""The speed benchmark compares every simulator that has the effect, and they compute the same layer."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("crossbar_speed")


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)).eval()


@torch.no_grad()
def test_all_simulators_compute_the_same_model(benchmark_module: Any) -> None:
    model, batch = _net(), torch.rand(4, 3, 6, 6)
    digital = model(batch)
    seen = set()
    for effect, simulator, module in benchmark_module.simulations(model, batch, 64):
        seen.add((effect, simulator))
        # Other simulators hold the weights without programming error; all are within a few steps of the ADC.
        assert torch.linalg.vector_norm(module(batch) - digital) < 0.7 * torch.linalg.vector_norm(digital), simulator
    for effect in benchmark_module.effects():
        assert (effect.name, "aihwkit C++ tile") in seen
    assert ("weight errors only", "ours (fold)") in seen
    assert ("8-bit converters", "aihwkit torch tile") in seen
    assert ("+ IR drop", "aihwkit torch tile") not in seen  # it refuses IR drop


def test_ratios_and_programming_are_reported(benchmark_module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model, batch = _net(), torch.rand(2, 3, 6, 6)
    rows = benchmark_module.compare("net", model, batch, 64, 1)
    assert all(row["ratio"] > 0 and row["memory_ratio"] > 0.5 for row in rows)
    writing = benchmark_module.programming("net", model, 64, 1)
    assert writing["weights"] == 3 * 8 * 9 + 8 * 36 * 5
    benchmark_module.show({"rows": rows, "programming": [writing], "lightning": False})
    assert "aihwkit C++ tile" in capsys.readouterr().out
