"""`nestevo-hw reproduce` as a user and as a script sees it."""

import json
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from web_pages import read_page

from nestevo_hw import __version__
from nestevo_hw.cli import main
from nestevo_hw.commands.reproduce import NAMES
from nestevo_hw.studies.reproduce import study
from nestevo_hw.studies.reproduce.effort import QUICK
from nestevo_hw.studies.reproduce.items import ALL, items

ALONE = ["figure-8", "figure-10", "table-6"]


def _keys(name):
    keys = (key for item in items(QUICK) for part in (*item.rows, *item.claims) for key in part.keys)
    return [key.removeprefix(f"{name}/") for key in dict.fromkeys(keys) if key.startswith(f"{name}/")]


@pytest.fixture
def cheap(monkeypatch):
    """Experiments that cost nothing; how often each was measured."""
    measured = []

    def measure(name):
        def run(_effort, seed):
            measured.append((name, seed))
            return {key: 0.1 + 0.05 * place + 0.01 * seed for place, key in enumerate(_keys(name))}

        return run

    monkeypatch.setattr(study, "ALONE", {name: measure(name) for name in study.ALONE})
    return measured


def _run(*arguments):
    return CliRunner().invoke(main, ["reproduce", *arguments])


def test_json_is_one_document_and_the_files_are_there(cheap, tmp_path):
    result = _run(*ALONE, "--quick", "--seeds", "2", "--out", str(tmp_path), "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert json.loads((tmp_path / "reproduction.json").read_text()) == document
    assert [item["name"] for item in document["items"]] == ALONE
    assert (document["seeds"], document["quick"]) == ([0, 1], True)
    teacher = document["items"][0]["figures"][0]
    assert (teacher["name"], teacher["paper"], teacher["by_seed"]) == ("teacher, familiar", 0.698, [0.1, 0.11])
    assert teacher["ci95"] is not None
    total = document["items"][2]["figures"][0]
    assert (total["unit"], total["ci95"], total["paper"]) == ("s", None, 20.83)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["measured.jsonl", "reproduction.html", "reproduction.json", "reproduction.png"]
    assert cheap == [("drift", 0), ("features", 0), ("chip", 0), ("drift", 1), ("features", 1)]


def test_console_and_page_say_what_the_paper_says_and_what_cannot_be_had(cheap, tmp_path):
    result = _run("table-6", "figure-8", "--quick", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    shown = " ".join(result.stdout.split())
    page = read_page(tmp_path / "reproduction.html")
    for text in (shown, page.text):
        for expected in (
            "Figure 8: what drift does", "Table 6: time to label", "0.698", "modelled",
            "an ISAAC chip, which nobody has built", "11.72 MFLOPS are 35 000 times too few",
            "one seed, so no figure has an interval",
        ):  # fmt: skip
            assert expected in text, expected
    assert shown.index("Figure 8") < shown.index("Table 6")
    assert "nan" not in page.text.lower()


def test_it_goes_on_where_it_was_stopped(cheap, tmp_path, monkeypatch):
    def stop(_effort, _seed):
        os.kill(os.getpid(), signal.SIGTERM)

    whole = study.ALONE["features"]
    monkeypatch.setitem(study.ALONE, "features", stop)
    stopped = _run(*ALONE, "--quick", "--out", str(tmp_path))
    assert stopped.exit_code == 143
    assert "after 1 of 3 experiments, which are kept in" in stopped.stderr
    assert not (tmp_path / "reproduction.json").exists()
    monkeypatch.setitem(study.ALONE, "features", whole)
    assert _run(*ALONE, "--quick", "--out", str(tmp_path)).exit_code == 2
    assert _run(*ALONE, "--out", str(tmp_path), "--resume").exit_code == 2  # of another effort
    assert _run(*ALONE, "--quick", "--out", str(tmp_path), "--resume").exit_code == 0
    assert cheap == [("drift", 0), ("features", 0), ("chip", 0)]
    more = _run("figure-8", "table-6", "--quick", "--seeds", "2", "--out", str(tmp_path), "--resume", "--json")
    assert json.loads(more.stdout)["seeds"] == [0, 1]
    assert cheap[3:] == [("drift", 1), ("features", 1)], "items that are not named stay, with as many seeds"


def test_what_another_version_measured_is_refused(cheap, tmp_path, monkeypatch):
    assert _run("table-6", "--quick", "--out", str(tmp_path)).exit_code == 0
    monkeypatch.setattr(study, "__version__", "9.0")
    refused = _run("table-6", "--quick", "--out", str(tmp_path), "--resume")
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"Error: {tmp_path} holds measurements of another configuration (version is '{__version__}' there and '9.0' "
        "here); choose another --out\n"
    )


def test_a_damaged_journal_is_one_line(cheap, tmp_path):
    assert _run("table-6", "--quick", "--out", str(tmp_path)).exit_code == 0
    with (tmp_path / "measured.jsonl").open("a") as file:
        file.write('{"experiment": "chip", "seed": "none"}\n')
    refused = _run("table-6", "--quick", "--out", str(tmp_path), "--resume")
    assert refused.exit_code == 1
    assert "measured.jsonl, line 3" in refused.stderr


@pytest.mark.parametrize("arguments", [("table-1",), ("table-6", "--resume"), ("--seeds", "0")])
def test_what_cannot_be_is_refused(arguments, cheap, tmp_path):
    Path(tmp_path / "out").mkdir()
    refused = _run(*arguments, "--quick", "--out", str(tmp_path / "out"))
    assert refused.exit_code == 2
    assert refused.stderr.count("Error") == 1
    assert not cheap


def test_runs_of_the_comparison_are_shared(monkeypatch):
    wanted = study.plan_reproduction(items(QUICK), QUICK, seeds=1, workers=1)
    assert wanted.runs is not None
    assert {name for name, _ in wanted.runs.configs} == {"NestEvo", "A1", "A2", "A3", "A4", "without-noise-training"}
    alone = study.plan_reproduction([i for i in items(QUICK) if i.name == "figure-12"], QUICK, seeds=2, workers=1)
    assert alone.runs is not None
    assert set(alone.runs.configs) == {("NestEvo", 0), ("NestEvo", 1)}


def test_names_are_known_before_anything_is_loaded():
    assert sorted(NAMES) == sorted([ALL, *(item.name for item in items(QUICK))])
    refused = CliRunner().invoke(main, ["reproduce", "table-1"])
    assert refused.exit_code == 2


def test_items_that_are_added_stay_beside_those_before(cheap, tmp_path):
    for words in (("table-6",), ("figure-8", "--resume"), ("figure-10", "--resume")):
        result = _run(*words, "--quick", "--out", str(tmp_path))
        assert result.exit_code == 0, result.stderr
    document = json.loads((tmp_path / "reproduction.json").read_text())
    assert [item["name"] for item in document["items"]] == ["figure-8", "figure-10", "table-6"]
    assert len(cheap) == len(set(cheap)), "nothing is measured twice"
