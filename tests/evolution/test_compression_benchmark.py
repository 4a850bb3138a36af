"""The benchmark of compression in its quick form: it compares pairs, and pooling everything saves memory."""

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_quick_benchmark_compares_each_limit_with_no_compression(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("sys.argv", ["compression", "--quick", "--json", "--small-px", "1000", "0.001"])
    importlib.import_module("compression").main()
    found = json.loads(capsys.readouterr().out)
    nothing, everything = found["limits"]
    (row,) = found["rows"]
    assert row["whole"]["pooled"] == nothing["pooled"] == 0
    assert nothing["accuracy_difference"]["mean"] == 0
    assert nothing["memory_ratio"]["mean"] == 1
    assert everything["pooled"] == 1
    assert everything["memory_ratio"]["mean"] < 0.85
    assert everything["accuracy_difference"]["mean"] == pytest.approx(
        row["compressed"]["0.001"]["accuracy"] - row["whole"]["accuracy"]
    )
    assert row["compressed"]["0.001"]["time_s"] > 0
