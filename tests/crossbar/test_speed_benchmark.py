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
def test_all_simulators_compute_the_same_model_with_the_effect_they_are_said_to_have(benchmark_module: Any) -> None:
    model, batch = _net(), torch.rand(4, 3, 6, 6)
    digital = model(batch)
    noisy = {
        effect.name: effect.preset.converters is not None and effect.preset.converters.output_noise > 0
        for effect in benchmark_module.effects()
    }
    outputs = {}
    for effect, simulator, module in benchmark_module.simulations(model, batch, 64):
        outputs[effect, simulator] = module(batch)
        assert torch.equal(outputs[effect, simulator], module(batch)) != noisy[effect], (effect, simulator)
        # Programming errors (ours, torch tile), converters and noise together are a sixth of this model's outputs.
        error = torch.linalg.vector_norm(outputs[effect, simulator] - digital)
        assert error < 0.25 * torch.linalg.vector_norm(digital), (effect, simulator)
    for effect in noisy:
        assert (effect, "aihwkit C++ tile") in outputs
    for effect, ours in (("weight errors only", "ours (fold)"), ("8-bit converters", "ours (fused)")):
        step = float(outputs[effect, ours].abs().max()) / 127
        assert torch.allclose(outputs[effect, ours], outputs[effect, "aihwkit torch tile"], atol=step)
    assert ("+ IR drop", "aihwkit torch tile") not in outputs  # it refuses IR drop


def test_ratios_and_programming_are_reported(
    benchmark_module: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_module, "lightning_installed", lambda: False)
    model, batch = _net(), torch.rand(2, 3, 6, 6)
    rows = benchmark_module.compare("net", model, batch, 64, 1)
    assert all(row["ratio"] > 0 and row["memory_ratio"] > 0.5 for row in rows)
    writing = benchmark_module.programming("net", model, 64, 1)
    assert writing["weights"] == 3 * 8 * 9 + 8 * 36 * 5
    found = {"rows": rows, "programming": [writing], "lightning": False, "load": [0.5, 1.5], "cores": 4}
    benchmark_module.show(found)
    shown = capsys.readouterr().out
    assert "C++ tile" in shown
    assert "not installed" in " ".join(shown.split())
    assert "0.5 to 1.5 on 4 cores" in shown


def test_a_slow_simulation_is_measured_three_times_only(benchmark_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_module, "BUDGET_S", 0.0)
    assert len(benchmark_module.paired_times(lambda: None, lambda: None, 15)) == 3
    assert len(benchmark_module.paired_times(lambda: None, lambda: None, 2)) == 2
