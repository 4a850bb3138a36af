"""`nestevo-hw compare` as a user and as a script sees it."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from small_run import SMALL

from nestevo_hw.commands.compare import compare
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.studies.compare import results, study


def _evolve(config, folder, *, resume, page, on_task):
    """Stands in for the real one: a run folder in which NestEvo is better than A4."""
    after = {"NestEvo": 0.6, "A4": 0.5, "A3": None}[config.method]
    events = []
    for terminal in config.terminals:
        for stage, score in (("before", 0.3), ("after", after)):
            if score is not None:
                events.append({"event": "accuracy", "window": 0, "model": terminal.name, "scene": terminal.name,
                               "stage": stage, "score": score})  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, events)))
    document = {"format": 2, "status": "complete", "method": config.method, "config": config.document(),
                "machine": {"device": "cpu"},
                "metric": "mAP@0.50", "second_metric": ["map", "mAP@0.50:0.95"]}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(document))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A configuration, and runs that cost nothing."""
    monkeypatch.setattr(study, "evolve", _evolve)
    monkeypatch.setattr(results, "is_embedded", lambda _: True)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


def test_json_is_one_document_and_the_files_are_there(small, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(
        compare, [small, "--methods", "NestEvo, A4", "--seeds", "3", "--out", str(out), "--json"]
    )
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert [m["name"] for m in document["methods"]] == ["NestEvo", "A4"]
    assert document["seeds"] == [0, 1, 2]
    assert document["paired"]["NestEvo"]["minus_a4"]["mean"] == pytest.approx(0.1)
    assert set(document["by_drift"]) == {"night", "none"}
    assert json.loads((out / "comparison.json").read_text()) == document
    assert document["device"] == "cpu"
    assert sorted(p.name for p in out.iterdir() if p.is_file()) == [
        "comparison.html", "comparison.json", "comparison.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_people_read_a_table_the_goals_and_where_it_is(small, tmp_path):
    out = tmp_path / "out"
    arguments = [small, "--methods", "NestEvo,A4,A3", "--seeds", "2", "--out", str(out)]
    result = CliRunner().invoke(compare, arguments)
    assert result.exit_code == 0, result.stderr
    for expected in ("0.566, +42.6 %", "goals", "relative gain of the terminals", "reached", "comparison.html"):
        assert expected in result.stdout
    assert CliRunner().invoke(compare, arguments).exit_code == 2
    assert CliRunner().invoke(compare, [*arguments, "--resume"]).exit_code == 0


def test_quick_takes_one_seed_and_one_window(small, tmp_path):
    result = CliRunner().invoke(
        compare, [small, "--quick", "--methods", "A4", "--out", str(tmp_path / "quick"), "--json"]
    )
    document = json.loads(result.stdout)
    assert (document["seeds"], document["windows"]) == ([0], 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "a4"], "unknown method 'a4'; did you mean A4? `nestevo-hw compare --list`"),
        (["--methods", "qqq"], "unknown method 'qqq'; `nestevo-hw compare --list` says which there are"),
        (["--methods", ","], "name at least one method"),
        (["--preset", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, tmp_path):
    result = CliRunner().invoke(compare, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_list_names_every_method_and_runs_nothing():
    result = CliRunner().invoke(compare, ["--list", "--json"])
    names = [variant["name"] for variant in json.loads(result.stdout)["methods"]]
    assert set(METHODS) < set(names)
    shown = CliRunner().invoke(compare, ["--list"]).stdout.splitlines()
    assert [line.split()[0] for line in shown] == names


def test_help_does_not_import_torch():
    code = (
        "import sys; from nestevo_hw.commands.compare import compare\n"
        "try: compare(['--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--ablations" in done.stdout


@pytest.mark.slow
def test_real_runs_are_compared(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    arguments = [
        str(tmp_path / "small.toml"),
        "--methods",
        "NestEvo,A4,A3",
        "--seeds",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(compare, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    methods = {m["name"]: m for m in json.loads(result.stdout)["methods"]}
    assert methods["A3"]["gain_relative"] == 0.0
    # Before the first window all methods are the same models on the same frames.
    assert len({m["terminals"]["before"] for m in methods.values()}) == 1
    assert methods["NestEvo"]["teacher"]["after"] is not None
    assert methods["A3"]["teacher"]["after"] is None, "A4's may be programmed again"
