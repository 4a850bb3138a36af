"""Several processes find the same scores."""

import json
from pathlib import Path

import pytest
from test_study import NET

from nestevo_hw.base.documents import json_text, plain
from nestevo_hw.studies.noise.parallel import chunks, score_chunk, score_in_workers
from nestevo_hw.studies.noise.plan import Trial
from nestevo_hw.studies.noise.request import Request
from nestevo_hw.studies.noise.students import BEFORE, REFERENCE, TRUE_LABELS


@pytest.fixture
def request_of_a_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    """A benchmark of a small network beside the user."""
    (tmp_path / "parallel_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sweeps = ("mu=0,0.1", "time_s=0,86400", "adc_bits=4,8")
    return Request(model="parallel_net:build", sweeps=sweeps, repeats=2, frames=16)


@pytest.mark.slow
def test_workers_find_the_same_scores(request_of_a_net: Request, tmp_path: Path) -> None:
    study, calls = request_of_a_net.study(), []
    alone = study.run(tmp_path / "alone", resume=False, advance=calls.append)
    together = request_of_a_net.study().run(tmp_path / "together", resume=False, advance=calls.append, workers=2)
    assert together == alone
    assert len(calls) == 2 * study.steps
    journals = [(tmp_path / name / "journal.jsonl").read_text().splitlines() for name in ("alone", "together")]
    assert sorted(journals[0]) == sorted(journals[1])


def test_only_what_is_missing_is_scored(request_of_a_net: Request, tmp_path: Path) -> None:
    study = request_of_a_net.study()
    found: dict[Trial, object] = {}
    study.subject.prepare(tmp_path).score(study.trials, {}, found.__setitem__)
    some = {trial: scores for trial, scores in found.items() if trial.repeat == 0}
    told: dict[Trial, object] = {}

    def keep(trial: Trial, scores: object) -> None:
        assert trial not in some
        told[trial] = scores

    score_in_workers(study.setup, tmp_path, study.trials, some, keep, workers=0)  # in this process
    assert told == {trial: scores for trial, scores in found.items() if trial not in some}


def test_a_chunk_is_plain_values_in_and_out(request_of_a_net: Request, tmp_path: Path) -> None:
    trial = {"sweep": "mu", "value": 0.1, "repeat": 0, "training": ""}
    setup = plain(request_of_a_net.study().setup)
    payload = json.loads(json_text({"setup": setup, "folder": str(tmp_path), "trials": [trial], "known": []}))
    (entry,) = json.loads(json_text(score_chunk(payload)))["scores"]
    assert entry == {**trial, "scores": entry["scores"]}
    assert 0.0 <= entry["scores"]["all"]["top1_agreement"] <= 1.0


def test_trials_that_share_a_programming_stay_together() -> None:
    times = [Trial(sweep="time_s", value=v, repeat=r) for v in (0.0, 1.0) for r in range(3)]
    bits = [Trial(sweep="adc_bits", value=v, repeat=r) for v in (4.0, 8.0) for r in range(3)]
    distillations = [Trial(sweep=REFERENCE, value=name, repeat=r) for name in (BEFORE, TRUE_LABELS) for r in range(2)]
    parts = chunks([*times, *bits, *distillations])
    assert sorted(len(part) for part in parts) == [1, 1, 1, 1, 2, 2, 2, 3, 3]
    assert {len({trial.repeat for trial in part}) for part in parts if part[0].sweep == "time_s"} == {1}
