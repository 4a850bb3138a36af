"""Several processes find the same scores."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from test_study import NET

from nestevo_hw.studies.noise.parallel import chunks, score_chunk, score_in_workers
from nestevo_hw.studies.noise.plan import Cell
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
    found: dict[Cell, object] = {}
    study.subject.prepare(tmp_path).score(study.cells, {}, found.__setitem__)
    some = {cell: scores for cell, scores in found.items() if cell.repeat == 0}
    told: dict[Cell, object] = {}

    def keep(cell: Cell, scores: object) -> None:
        assert cell not in some
        told[cell] = scores

    score_in_workers(study.setup, tmp_path, study.cells, some, keep, workers=0)  # in this process
    assert told == {cell: scores for cell, scores in found.items() if cell not in some}


def test_a_chunk_is_plain_values_in_and_out(request_of_a_net: Request, tmp_path: Path) -> None:
    cell = {"sweep": "mu", "value": 0.1, "repeat": 0, "training": ""}
    setup = asdict(request_of_a_net.study().setup)
    payload = json.loads(json.dumps({"setup": setup, "folder": str(tmp_path), "cells": [cell], "known": []}))
    (entry,) = json.loads(json.dumps(score_chunk(payload)))["scores"]
    assert entry["cell"] == cell
    assert 0.0 <= entry["scores"]["all"]["top1_agreement"] <= 1.0


def test_cells_that_share_a_programming_stay_together() -> None:
    times = [Cell(sweep="time_s", value=v, repeat=r) for v in (0.0, 1.0) for r in range(3)]
    bits = [Cell(sweep="adc_bits", value=v, repeat=r) for v in (4.0, 8.0) for r in range(3)]
    lessons = [Cell(sweep=REFERENCE, value=name, repeat=r) for name in (BEFORE, TRUE_LABELS) for r in range(2)]
    parts = chunks([*times, *bits, *lessons])
    assert sorted(len(part) for part in parts) == [1, 1, 1, 1, 2, 2, 2, 3, 3]
    assert {len({cell.repeat for cell in part}) for part in parts if part[0].sweep == "time_s"} == {1}
