"""The benchmarks of elastic terminals in their quick form."""

import importlib
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.cli import main
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.terminals.elastic.edge import EdgeFrames

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


@pytest.mark.slow
def test_models_are_pruned_and_trained_as_long(quick, tmp_path):
    document = quick("elastic_pruning")
    (row,) = document["models"]
    assert row["rate"] == 0.5
    assert 0 <= row["accuracy"] <= 1
    model, spec = load_model(tmp_path / "pruned-0.5.safetensors")
    assert spec.architecture == "digits-mobilenet"
    assert sum(p.numel() for p in model.parameters()) < 0.5 * sum(
        p.numel() for p in load_model(pretrained_path("digits-mobilenet"))[0].parameters()
    )
    assert len(EdgeFrames.read(tmp_path / "fresh.safetensors").images) == 20


@pytest.mark.slow
def test_searches_are_compared_on_measured_accuracies_that_are_measured_once(monkeypatch, capsys, tmp_path):
    words = ["elastic", "build", "digits-mobilenet", "--out", str(tmp_path / "home"), "--frames", "100", "--merge", "2",
             "--shrink", "0.5", "--distil-steps", "2", "--tune-steps", "2"]  # fmt: skip
    assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = []
    for _ in range(2):
        words = ["x", str(tmp_path / "home"), "--json", "--frames", "16", "--evaluations", "12", "--seeds", "2",
                 "--budget", "0.9", "--out", str(tmp_path / "out")]  # fmt: skip
        monkeypatch.setattr("sys.argv", words)
        importlib.import_module("elastic_strategies").main()
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    document = json.loads(found[0])
    for row in document["strategies"]:
        assert max(row["evaluations"]) <= 12
        assert row["best"]["12"] >= row["best"]["10"]
        assert len(row["unseen"]) == 2
    lines = (tmp_path / "out" / "searched.jsonl").read_text().splitlines()
    assert len(lines) == 1 + document["known"]
