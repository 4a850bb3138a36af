"""The journal keeps every score, survives a torn line and refuses what is not its own."""

from pathlib import Path

import pytest

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.studies.noise.journal import JOURNAL, RESULTS, ScoreJournal
from nestevo_hw.studies.noise.plan import Trial

IDENTITY = {"model": "a", "tile": (256, 256), "seed": 0}
TRIALS = [Trial(sweep="adc_bits", value=4.0, repeat=0), Trial(sweep="analog", value="pcm", repeat=1, training="plain")]
SCORES = {"day": {"map50": 0.5, "map": 0.1}}


def _written(folder: Path) -> Path:
    journal = ScoreJournal(folder, IDENTITY, resume=False)
    for trial in TRIALS:
        journal.keep(trial, SCORES)
    return folder / JOURNAL


def test_what_was_kept_is_read_back(tmp_path: Path) -> None:
    _written(tmp_path)
    assert ScoreJournal(tmp_path, IDENTITY, resume=True).scores == dict.fromkeys(TRIALS, SCORES)


@pytest.mark.parametrize("torn", [1, 10, 60])
def test_a_torn_last_line_is_forgotten_and_written_anew(tmp_path: Path, torn: int) -> None:
    path = _written(tmp_path)
    path.write_bytes(path.read_bytes()[:-torn])
    journal = ScoreJournal(tmp_path, IDENTITY, resume=True)
    assert list(journal.scores) == TRIALS[:1]
    journal.keep(TRIALS[1], SCORES)
    assert list(ScoreJournal(tmp_path, IDENTITY, resume=True).scores) == TRIALS


def test_a_torn_first_line_begins_anew(tmp_path: Path) -> None:
    path = _written(tmp_path)
    path.write_bytes(path.read_bytes()[:7])
    journal = ScoreJournal(tmp_path, IDENTITY, resume=True)
    assert journal.scores == {}
    journal.keep(TRIALS[0], SCORES)
    assert list(ScoreJournal(tmp_path, IDENTITY, resume=True).scores) == TRIALS[:1]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = _written(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{broken", lines[2]]) + "\n")
    with pytest.raises(InputError, match=r"journal\.jsonl, line 2 is not valid JSON: .* at column 2; delete this line"):
        ScoreJournal(tmp_path, IDENTITY, resume=True)
    path.write_text("\n".join([lines[0], lines[1].replace('"repeat": 0', '"repeat": "x"')]) + "\n")
    with pytest.raises(InputError, match=r"line 2: repeat: input should be a valid integer.*\(got 'x'\)"):
        ScoreJournal(tmp_path, IDENTITY, resume=True)


@pytest.mark.parametrize("resume", [True, False])
def test_another_configuration_is_refused_with_what_differs(tmp_path: Path, *, resume: bool) -> None:
    before = _written(tmp_path).read_bytes()
    with pytest.raises(ConfigError, match=r"seed is 0 there and 1 here\); choose another --out"):
        ScoreJournal(tmp_path, {**IDENTITY, "seed": 1}, resume=resume)
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_what_differs_is_named_to_the_last_field(tmp_path: Path) -> None:
    ScoreJournal(tmp_path, {"preset": {"converters": {"adc_bits": 8}}}, resume=False)
    with pytest.raises(ConfigError, match=r"preset\.converters\.adc_bits is 8 there and 7 here"):
        ScoreJournal(tmp_path, {"preset": {"converters": {"adc_bits": 7}}}, resume=True)
    with pytest.raises(ConfigError, match=r"preset\.converters\.adc_bits is 8 there and None here"):
        ScoreJournal(tmp_path, {"preset": {"converters": None}}, resume=True)


def test_scores_are_not_thrown_away_finished_or_not(tmp_path: Path) -> None:
    before = _written(tmp_path).read_bytes()
    for finished in (False, True):
        if finished:
            (tmp_path / RESULTS).write_text("{}")
        with pytest.raises(ConfigError, match="holds scores already; add --resume to go on, or choose another --out"):
            ScoreJournal(tmp_path, IDENTITY, resume=False)
        assert (tmp_path / JOURNAL).read_bytes() == before
    assert ScoreJournal(tmp_path, IDENTITY, resume=True).scores == dict.fromkeys(TRIALS, SCORES)
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(ConfigError, match="holds the results of a benchmark; choose another --out"):
        ScoreJournal(tmp_path, IDENTITY, resume=False)
    assert (tmp_path / RESULTS).read_text() == "{}"


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no benchmark to resume"):
        ScoreJournal(tmp_path / "new", IDENTITY, resume=True)
    assert not (tmp_path / "new").exists()
