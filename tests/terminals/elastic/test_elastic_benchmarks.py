"""The benchmarks of elastic terminals in their quick form."""

import importlib
import json
import os
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def quick(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(name):
        monkeypatch.setattr("sys.argv", [name, "--quick", "--json", "--out", str(tmp_path)])
        importlib.import_module(name).main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.slow
def test_searches_are_compared_at_equal_evaluations_and_seconds(quick, tmp_path):
    document = quick("elastic_search")
    rows = {row["strategy"]: row for row in document["strategies"]}
    for row in rows.values():
        assert 0 <= row["gain"]["mean"] <= 1
        assert 0 <= row["gain_at_seconds"]["mean"] <= 1
        assert row["share_of_exhaustive"]["mean"] <= 0.051
        gains = [point["mean"] for point in row["curve"]]
        assert gains == sorted(gains)
        assert gains[-1] == pytest.approx(row["gain"]["mean"])
    assert rows["additive refined"]["gain"]["mean"] > 0.95
    assert (tmp_path / "gain.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_terminal_is_measured_and_slowed_down(quick, tmp_path):
    cores = os.sched_getaffinity(0)
    try:
        document = quick("elastic_changeover")
    finally:
        os.sched_setaffinity(0, cores)
    assert document["reuse"]["same_to_the_bit"]
    assert document["reuse"]["work_saved"] > 1
    (run,) = document["changeovers"]
    assert all(ms < 1000 for ms in run["change_ms"])
    assert (tmp_path / "changeover.png").stat().st_size > 10_000
