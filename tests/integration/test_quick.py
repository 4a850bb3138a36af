"""`evolve --quick`: an impression of the whole loop, and that it is called one wherever its figures stand."""

import json
import subprocess
import sys

import pytest
from web_pages import read_page

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.impression import impression
from nestevo_hw.evolution.presets import PRESETS
from nestevo_hw.evolution.run import checked


@pytest.mark.parametrize("preset", ["quick", "digits"])
def test_an_impression_is_less_of_the_same_run(preset):
    whole = load_preset(preset)
    cut = impression(whole)
    assert cut.window.count == 1
    assert cut.terminals == whole.terminals[:2]
    assert cut.window.upload_frames <= whole.window.upload_frames
    assert cut.mutual.plan.steps < whole.mutual.plan.steps
    checked(cut)
    assert impression(cut) == cut
    assert preset in PRESETS


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
