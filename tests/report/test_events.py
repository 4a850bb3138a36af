import json
import math

import pytest
from fake_runs import fake_run

from nestevo_hw.base.errors import InputError
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.teacher import Program
from nestevo_hw.report.records.terminal import Accuracy
from nestevo_hw.report.records.work import TaskRun


def append(run_dir, line):
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")


def edit_header(run_dir, **changes):
    path = run_dir / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_reads_what_was_written(run_dir):
    run = read_run(run_dir)
    assert run.complete
    assert run.terminals == ("campus-a", "village-a", "downtown-a")
    assert run.windows == 2
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert len(run.events) == len(lines)
    first = next(json.loads(line) for line in lines if '"accuracy"' in line)
    assert run.of(Accuracy)[0].score == first["score"]
    assert {t.kind for t in run.of(TaskRun)} >= {"label", "distil", "export", "evaluate"}


def test_null_becomes_nan_and_a_missing_window_the_setup(run_dir):
    append(run_dir, '{"event": "accuracy", "window": 1, "model": "m", "scene": "s", "stage": "after", "score": null}')
    append(run_dir, '{"event": "program", "window": null, "generation": 0, "analog": "pcm", "tile": [256, 128]}')
    run = read_run(run_dir)
    assert math.isnan(run.of(Accuracy)[-1].score)
    assert run.of(Program)[-1].window == SETUP
    assert run.of(Program)[-1].tile == (256, 128)


def test_unknown_events_and_keys_are_left_to_later_versions(run_dir):
    before = len(read_run(run_dir).events)
    append(run_dir, '{"event": "novelty", "window": 0}')
    append(run_dir, '{"event": "decision", "window": 1, "drifted": 1, "epsilon": 2, "mode": "none", "novelty": 3}')
    assert len(read_run(run_dir).events) == before + 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"metrics\.jsonl, line \d+ is not valid JSON: .* at column 2"),
        ("[1]", r"line \d+: top level: expected an object \(got \[1\]\)"),
        ('{"window": 0}', r"line \d+: event: field required"),
        ('{"event": "drift", "window": "x"}', r"line \d+: window: .*got 'x'"),
        ('{"event": "drift", "window": 1000000000}', r"line \d+: window: input should be a number from -1 to 10000"),
        (
            '{"event": "recall", "window": 0, "terminal": "a", "scores": {"1000000000": 1}}',
            r"line \d+: scores\..*10000",
        ),
        ('{"event": "drift", "window": -2}', r"line \d+: window: input should be a number from -1 to 10000"),
        ('{"event": "decision", "window": 0, "drifted": 1, "mode": "none"}', r"line \d+: epsilon: field required"),
    ],
)
def test_a_corrupt_line_is_named(run_dir, line, message):
    append(run_dir, line)
    append(run_dir, '{"event": "decision", "window": 0, "drifted": 1, "epsilon": 2, "mode": "none"}')
    with pytest.raises(InputError, match=message):
        read_run(run_dir)


def test_half_a_last_line_is_forgiven_only_while_a_run_is_unfinished(run_dir):
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"event": "acc')
    with pytest.raises(InputError, match="not valid JSON"):
        read_run(run_dir)
    edit_header(run_dir, status="running")
    assert not read_run(run_dir).complete


def test_a_run_that_just_began_has_no_events(run_dir):
    (run_dir / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match=r"holds no metrics\.jsonl"):
        read_run(run_dir)
    edit_header(run_dir, status="running")
    assert read_run(run_dir).events == ()
    assert read_run(run_dir).windows == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", r"top level: expected an object \(got \[\]\)"),
        ("{}", "expected format 2 but got None"),
        ('{"format": 3}', "expected format 2 but got 3"),
        ('{"format": 2, "method": "A4"}', "status: field required"),
    ],
)
def test_a_corrupt_header_is_named(run_dir, text, message):
    (run_dir / "run.json").write_text(text)
    with pytest.raises(InputError, match=rf"run\.json.*{message}"):
        read_run(run_dir)


def test_a_folder_without_a_run_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match="give the folder that `nestevo-hw evolve` wrote"):
        read_run(tmp_path / "nowhere")


def test_binary_metrics_are_named(tmp_path):
    run_dir = fake_run(tmp_path, pictures=False)
    (run_dir / "metrics.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_run(run_dir)
