"""The benchmarks of the teacher's age and refresh in their quick form, and that they go on from what they measured."""

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_quick_benchmarks_compare_ages_and_policies_and_share_their_scores(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(name):
        monkeypatch.setattr("sys.argv", [name, "--quick", "--json", "--out", str(tmp_path)])
        importlib.import_module(name).main()
        return json.loads(capsys.readouterr().out)

    (found,) = run("teacher_ages")["devices"]
    assert set(found["columns"]) == {"neither", "scene_norm", "compensation", "both"}
    assert len({point["mean"] for column in found["columns"].values() for point in column}) == 8
    shared = json.loads((tmp_path / "pcm-0-2.json").read_text())
    (found,) = run("refresh_policy")["comparisons"]
    assert shared.items() <= json.loads((tmp_path / "pcm-0-2.json").read_text()).items()
    rows = {row["policy"]: row for row in found["policies"]}
    assert rows["never"]["programmings"]["mean"] == 1
    assert rows["always"]["programmings"]["mean"] == found["windows"]
    assert rows["never"]["net_minus_never"]["mean"] == 0
    for row in rows.values():
        low, high = row["drifted"]["ci95"]
        assert low <= row["drifted"]["mean"] <= high
        assert row["wear"]["mean"] > 0
