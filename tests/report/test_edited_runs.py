import json

import pytest
from fake_runs import fake_run
from web_pages import read_page

from nestevo_hw.base.errors import InputError
from nestevo_hw.report.events import read_run
from nestevo_hw.report.page import write_report

NAME = "a\x1b[2J[red]$x$\u202e<i>"


def _edit(folder, **changes):
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"status": "half"},
            "run.json: status: input should be 'running', 'complete', 'failed', 'refused' or 'stopped'",
        ),
        ({"format": 2.5}, "expected format 2 but got 2.5"),
        ({"config": {"terminals": "campus"}}, r"run.json: config.terminals: .*got 'campus'"),
        ({"config": {"teacher": "pcm"}}, r"run.json: config.teacher: expected an object \(got 'pcm'\)"),
    ],
)
def test_an_edited_header_is_refused(tmp_path, changes, message):
    run = fake_run(tmp_path, terminals=1, windows=1, pictures=False)
    _edit(run, **changes)
    with pytest.raises(InputError, match=message):
        read_run(run)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"event": "absent", "window": 10**9, "terminal": "a", "reason": "b"}, "window: .*from -1 to 10000"),
        ({"event": "absent", "window": -5, "terminal": "a", "reason": "b"}, "window: .*from -1 to 10000"),
        ({"event": "absent", "window": "0", "terminal": "a", "reason": "b"}, "window: .*from -1 to 10000"),
        ({"event": "accuracy", "window": 0, "model": "a", "scene": "a", "stage": "after", "score": 7},
         r"score: .*from 0 to 1 \(got 7\)"),
        ({"event": "task", "window": 0, "name": "a", "kind": "label", "started_s": 8.0, "ended_s": 1.0},
         "ends at 1 s, before it starts at 8 s"),
    ],
)  # fmt: skip
def test_an_impossible_event_is_refused_with_its_line(tmp_path, event, message):
    run = fake_run(tmp_path, terminals=1, windows=1, pictures=False)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    with pytest.raises(InputError, match=rf"metrics\.jsonl, line \d+: .*{message}"):
        read_run(run)


def test_names_do_nothing_on_pages_and_in_pictures(tmp_path):
    run = fake_run(tmp_path, terminals=1, windows=1, pictures=False)
    for name in ("run.json", "metrics.jsonl"):
        path = run / name
        path.write_text(path.read_text().replace("campus-a", json.dumps(NAME)[1:-1]))
    page = write_report(run)
    read_page(page)
    texts = [page, *(run / "plots").glob("*.svg")]
    assert len(texts) > 3
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "<i>" not in text
    assert "a\\x1b[2J[red]$x$\\u202e&lt;i&gt;" in page.read_text(encoding="utf-8")
