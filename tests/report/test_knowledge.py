"""What terminals know and what went wrong, on the page."""

import json
import math
from dataclasses import replace
from html import unescape

import pytest
from fake_runs import fake_run

from nestevo_hw.pages.formats import DASH
from nestevo_hw.report.events import read_run
from nestevo_hw.report.forgetting import backward_transfer, recall_table, recalled
from nestevo_hw.report.knowledge import estimates, trigger_text
from nestevo_hw.report.page import page_text
from nestevo_hw.report.records.terminal import Recall
from nestevo_hw.report.summary import summary_of
from nestevo_hw.report.tables import cameras_table, decisions_table, related_table, selections_table, troubles_table


@pytest.fixture
def run(tmp_path):
    """Three terminals and two windows, with estimates whose truth is known, a recall and some trouble."""
    folder = fake_run(tmp_path / "run", pictures=False)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    scored = [e for e in map(json.loads, lines) if e["event"] == "accuracy" and e["model"] == e["scene"]]
    before = {(e["window"], e["model"]): e["score"] for e in scored if e["stage"] == "before"}
    after = {(e["window"], e["model"]): e["score"] for e in scored if e["stage"] == "after"}
    told = [
        {"event": "sense", "window": w, "terminal": name, "remains": score, "requests": score < 0.5}
        for (w, name), score in before.items()
    ]
    told += [
        {"event": "recall", "window": 1, "terminal": "campus-a", "scores": {"0": after[0, "campus-a"] - 0.25}},
        {"event": "reuse", "window": 1, "terminal": "campus-a", "reused": True, "scores": [0.4, 0.6]},
        {"event": "groups", "by": "name", "groups": {"north": ["campus-a"], "south": ["village-a", "downtown-a"]}},
        {"event": "absent", "window": 1, "terminal": "village-a", "reason": "sent <noise>"},
        {"event": "failure", "window": 0, "kind": "merge", "terminal": None, "reason": "its worker was killed"},
    ]
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in told)
    return read_run(folder)


def test_estimates_stand_beside_the_truth(run):
    found = estimates(run)
    assert len(found) == 6
    assert all(sense.remains == accuracy for sense, accuracy in found)
    assert "Correlation with true accuracy: 1.00." in trigger_text(run)
    assert trigger_text(run) in unescape(page_text(run, summary_of(run)))


def test_what_was_forgotten_is_said(run):
    text = page_text(run, summary_of(run))
    assert "-0.2500 on average since these were learned" in text
    assert "worse in 100.0 % of the cases" in text
    assert "an earlier model" in text


def test_trouble_is_named_and_escaped(run):
    text = page_text(run, summary_of(run))
    for part in ("sent &lt;noise&gt;", "its worker was killed", "north", "village-a, downtown-a", "server"):
        assert part in text


def test_a_run_without_any_of_it_shows_nothing(tmp_path):
    run = read_run(fake_run(tmp_path / "plain", pictures=False))
    assert not estimates(run)
    assert not recall_table(run).rows
    assert not troubles_table(run).rows
    for heading in ("What the terminals know", "Groups of terminals", "What went wrong"):
        assert heading not in page_text(run, summary_of(run))


def test_a_group_counts_its_own_terminals(run):
    lines = (run.directory / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    decision = {"event": "decision", "window": 0, "group": "south", "drifted": 1, "epsilon": 2, "mode": "none"}
    others = [e for e in events if e["event"] not in ("decision", "generator", "deploy")]
    (run.directory / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in [*others, decision]))
    table = decisions_table(read_run(run.directory))
    (row,) = table.rows
    shown = dict(zip(table.heads, row, strict=True))
    assert (shown["group"], shown["drifted terminals"]) == ("south", "1 of 2 (teacher joins from 2)")
    assert not {"label distance", "validation gate"} & set(table.heads)


def test_a_decision_by_benefit_says_how_sure_the_teacher_was(run):
    lines = (run.directory / "metrics.jsonl").read_text().splitlines()
    others = [e for e in map(json.loads, lines) if e["event"] not in ("drift", "decision", "generator", "deploy")]
    benefit = {"event": "benefit", "window": 0, "group": "", "sure": 0.625, "least": 0.9, "mode": "adaptation"}
    (run.directory / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in [*others, benefit]))
    found = read_run(run.directory)
    (row,) = decisions_table(found).rows
    shown = dict(zip(decisions_table(found).heads, row, strict=True))
    assert (shown["sure of"], shown["evolution"]) == ("62.5 % (adapts below 90.0 %)", "adaptation")
    assert "drifted terminals" not in shown
    assert "only where it has become unsure" in " ".join(page_text(found, summary_of(found)).split())


def test_which_model_each_terminal_was_given(run):
    assert not selections_table(run).rows
    scores = {"evolved": 0.41, "adapted": 0.55}
    event = {
        "event": "select",
        "window": 1,
        "terminal": "campus-a",
        "chosen": "adapted",
        "scores": scores,
        "frames": 14,
        "untaught": {"adapted": 0.6, "old": 0.2},
    }
    with (run.directory / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    changed = read_run(run.directory)
    ((window, terminal, deployed, *found),) = selections_table(changed).rows
    assert (window, terminal, deployed.text) == ("1", "campus-a", "the BatchNorm-adapted one")
    assert found == ["0.410", "0.550", "14", "0.600", "0.200"]
    assert "Which model each terminal was given" in page_text(changed, summary_of(changed))


def test_a_camera_that_moved_is_named(run):
    with (run.directory / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"event": "moving", "window": 1, "terminal": "campus-a"}) + "\n")
    found = read_run(run.directory)
    assert ("1", "campus-a", "moves, so no background was subtracted") in cameras_table(found).rows
    assert all("moves" not in row[-1] for row in troubles_table(found).rows), "nothing went wrong"


def test_backward_transfer_by_hand(run):
    (one,) = recalled(run)
    assert (one.window, one.terminal, one.scene, one.reused) == (1, "campus-a", 0, True)
    assert backward_transfer(run) == pytest.approx(-0.25) == pytest.approx(summary_of(run).backward_transfer)
    more = Recall(window=2, terminal="campus-a", scores={0: one.learned - 0.05, 5: 0.9})
    assert backward_transfer(replace(run, events=(*run.events, more))) == pytest.approx(-0.15)
    assert math.isnan(backward_transfer(replace(run, events=())))


def test_whose_frames_were_learned_is_shown_with_the_nearest_scenes(run):
    far = {f"c{k}": float(k) for k in range(1, 8)}
    lines = [
        {"event": "related", "window": 0, "terminal": "campus-a", "to": ["village-a"],
         "distances": {"village-a": 0.07, **far}},
        {"event": "related", "window": 0, "terminal": "village-a", "to": [], "distances": {"campus-a": 2.5}},
    ]  # fmt: skip
    with (run.directory / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    found = read_run(run.directory)
    assert related_table(found).rows == [
        ("0", "campus-a", "village-a", "village-a 0.07, c1 1.00, c2 2.00, c3 3.00"),
        ("0", "village-a", DASH, "campus-a 2.50"),
    ]
    assert "Whose frames each terminal learned beside its own" in page_text(found, summary_of(found))
