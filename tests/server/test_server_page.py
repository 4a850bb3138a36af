"""The page of a server: its terminals, and what the run folder tells of the last windows."""

import json

import pytest
from conversation import NAMES, exporting, remote_config
from test_arrivals import Room

from nestevo_hw.base.documents import plain, write_json
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.report.events import FORMAT, Header, TaskKind
from nestevo_hw.report.page import write_report
from nestevo_hw.server.live import LiveView
from nestevo_hw.server.status import server_status, status_page
from nestevo_hw.testing.simulated import SimulatedExecutor, drive


@pytest.fixture
def room(tmp_path, models):
    made = Room(tmp_path / "state", remote_config())
    for name in NAMES:
        made.send(name, 4)
        made.ask(name)
    config = remote_config(count=1)
    kinds = {s.kind: TaskKind(wording=s.wording, colour=s.colour, resource=s.needs) for s in STEPS.values()}
    header = Header(format=FORMAT, status="running", method="NestEvo", config=config.document(), kinds=kinds)
    write_json(made.layout.run_json, plain(header))
    drive(
        remote_config(count=1), made.layout.root, SimulatedExecutor(answers=exporting(models["first"])), made.arrivals
    )
    made.send("gate", 2, first=10)
    yield made
    made.store.close()


def page(room, live):
    return status_page(server_status(room.store, NAMES, 0.0, 3), live, room.inboxes.last_frames(NAMES))


def test_it_shows_terminals_frames_tasks_and_decisions(room):
    with (room.layout.root / "metrics.jsonl").open("a") as file:  # which a camera says, and no simulated task
        file.write('{"event": "sense", "window": 0, "terminal": "gate", "remains": 0.625, "requests": true}\n')
        file.write('{"event": "elastic", "window": 0, "terminal": "belt", "stage": "before", "path": "0 1-2 3@0.25"}\n')
    live = LiveView(room.layout.root)
    text = page(room, live())
    assert "Tasks of the last window" in text
    assert "What each window decided" in text
    assert "programming" in text
    assert text.count("data:image/webp") == 1  # of gate, which alone has frames that wait
    assert live().estimates == {"gate": (0.625,), "belt": ()}
    assert "0.62" in text
    assert "Which path each elastic terminal took" in text
    assert "0 1-2 3@0.25" in text
    assert live() is live()


def test_a_frame_that_has_gone_and_a_run_that_has_not_begun_leave_a_page(room, tmp_path):
    for name, path in room.inboxes.last_frames(NAMES).items():
        path.unlink()
        assert name == "gate"
    text = page(room, LiveView(tmp_path / "nothing")())
    assert "Tasks of the last window" not in text
    assert "data:image" not in text


def test_a_damaged_run_folder_is_said_and_the_page_stays(room):
    with (room.layout.root / "metrics.jsonl").open("a") as file:
        file.write('{"event": "drift"}\n{"event": 1}\n')
    assert "metrics.jsonl" in page(room, LiveView(room.layout.root)())


def test_the_report_of_frames_without_labels_has_no_empty_chart(room):
    path = room.layout.root / "metrics.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    unknown = [e | {"score": None, "metrics": {}} if e["event"] == "accuracy" else e for e in events]
    path.write_text("".join(f"{json.dumps(e)}\n" for e in unknown))
    write_report(room.layout.root)
    text = (room.layout.root / "report.html").read_text()
    assert "No labels came with the frames" in text
    assert "Accuracy over the windows of terminal" not in text
    assert text.count("Drift over the windows of terminal") == len(NAMES)
