"""`evolve --quick`: an impression of the whole loop, and that it is called one wherever its figures stand."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from web_pages import read_page

from nestevo_hw.evolution.cameras import plan_reference
from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.drift import segments_needed
from nestevo_hw.evolution.idle import idle_settings
from nestevo_hw.evolution.impression import impression
from nestevo_hw.evolution.presets import PRESETS
from nestevo_hw.evolution.run import checked, evolve
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.teacher import Calibration


@pytest.mark.parametrize("preset", ["quick", "digits"])
def test_an_impression_is_less_of_the_same_run(preset):
    whole = load_preset(preset)
    cut = impression(whole)
    assert cut.window.count == 1
    assert [(t.name, t.model) for t in cut.terminals] == [(t.name, t.model) for t in whole.terminals[:2]]
    assert all(step.window == 0 for terminal in cut.terminals for step in terminal.drift)
    assert cut.window.upload_frames <= whole.window.upload_frames
    assert cut.mutual.plan.steps < whole.mutual.plan.steps
    checked(cut)
    assert impression(cut) == cut
    assert preset in PRESETS


def test_nothing_is_left_that_comes_after_the_only_window():
    whole = override(load_preset("quick"), {"drift.epsilon": 3})
    assert not [told for told in idle_settings(impression(whole)) if "never" in told]
    late = replace(whole, terminals=tuple(replace(t, joins=int(t.name == "campus")) for t in whole.terminals))
    assert [t.name for t in impression(late).terminals] == ["village", "downtown"]


def test_a_budget_of_frames_does_not_outlast_the_cut():
    whole = override(load_preset("quick"), {"sampling.budget_frames": 288})
    checked(impression(whole))


@pytest.mark.slow
def test_a_quick_run_improves_or_says_that_it_does_not(tmp_path):
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "nestevo_hw", "evolve", "--quick", "--out", str(folder)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "run.json").read_text())["summary"]
    page = read_page(folder / "report.html").text
    better = [t["after"] > max(t["before"], t["adapted"]) for t in summary["terminals"]]
    assert ("All 2 terminals improved" in page) == all(better)
    assert ("No terminal improved" in page) == (not any(better))
    assert summary["impression"] is True
    for told in (page, " ".join(done.stdout.split())):
        assert "An impression only (--quick)" in told
        assert "do not compare with documented ones" in told


@pytest.mark.parametrize("preset", ["quick", "digits"])
def test_an_impression_has_segments_enough_to_calibrate_its_threshold(preset):
    whole = override(load_preset(preset), {"drift.false_alarm_rate": 0.06})
    cut = impression(whole)
    assert cut.drift.min_samples is None
    assert len(plan_reference(cut)) >= segments_needed(0.06)


def test_a_quick_run_of_digits_comes_to_its_end(tmp_path):
    """Eight images of ten classes a segment: the teacher is sure of few of a class."""
    cut = impression(load_preset("digits"))
    cut = override(cut, {"execution.executor": "inline", "generator.steps": 1, "mutual.plan.steps": 1,
                         "distil.plan.steps": 1, "execution.device": "cpu"})  # fmt: skip
    evolve(cut, tmp_path / "run", page=False)
    (found,) = read_run(tmp_path / "run").of(Calibration)
    assert found.origin == "calibrated"
    assert found.min_samples < 8
    assert found.trouble == ""
