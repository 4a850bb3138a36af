"""`nestevo-hw elastic` refuses in one line what cannot be done, and shows what it did."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from nestevo_hw.cli import main
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.terminals.elastic.latency import BranchTime, LatencyErrors, LatencyModel
from nestevo_hw.terminals.elastic.pool import Candidate, Pool
from nestevo_hw.terminals.elastic.selecting import Selected, Timing

FOLDER = "tests-have-no-such-folder"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("build digits-mobilenet --out {out} --shrink 0.3,x", 2, "--shrink: need rates from 0.01 to 0.9"),
        ("build digits-mobilenet --out {out} --shrink 1.5", 2, "--shrink: need rates from 0.01 to 0.9"),
        ("build digits-mobilenet --out {out} --labels a.json", 2, "--video goes with --labels"),
        ("build digits-mobilenet --out {out} --video a.mp4 --labels a.json", 2, "this is a model for classification"),
        ("build fasterrcnn-tiny --out {out} --data images", 2, "this is a model for detection"),
        ("build nothing --out {out}", 2, "no checkpoint 'nothing'"),
        ("build digits-cnn --out {out}", 1, "no chain of basic blocks"),
        ("build digits-mobilenet --out {out} --resume", 2, "no folder"),
        ("build digits-mobilenet --out {out} --merge 4", 2, "need a whole number from 1 to 3"),
        (f"search {FOLDER} --out {{out}}", 2, "no file"),
        (f"search {FOLDER} --out {{out}} --budget 0", 2, "need a number from 0.01 to 1"),
        (f"adapt {FOLDER} --search {FOLDER}", 2, "no file"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_nothing(words, code, told, tmp_path):
    result = CliRunner().invoke(main, ["elastic", *words.format(out=tmp_path / "out").split()])
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["5", "9:3", "a:b", "0:31"])
def test_a_burden_of_no_frames_is_refused(text, tmp_path):
    base = (Branch(0), Branch(1))
    one = Candidate(base, 0.01, 0.9)
    timing = Timing(model=LatencyModel(tuple(BranchTime(b, 0.005) for b in base)), base_s=0.01,
                    off=LatencyErrors(paths=1, p50=0.0, p95=0.0, worst=0.0))  # fmt: skip
    selected = Selected(budget_s=0.02, base=one, best=one, measured_s=0.01, evaluated=1, seconds=1.0, timing=timing)
    from nestevo_hw.base.documents import plain

    (tmp_path / "result.json").write_text(json.dumps(plain(selected)))
    (tmp_path / "pool.json").write_text(json.dumps(plain(Pool((one,)))))
    words = ["elastic", "adapt", FOLDER, "--search", str(tmp_path), "--count", "30", "--burden", text]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "--burden: need FROM:TO with 0 <= FROM < TO <= 30" in result.stderr
    assert np.isfinite(selected.budget_s)
