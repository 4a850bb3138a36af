"""A disk that is full and a clock that is put back end neither a camera nor a server, and keep no model back."""

import hashlib
import itertools
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from conversation import digits, remote_config, talking

from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.models.onnx.manifest import MODEL
from nestevo_hw.server.arrivals import Moment, is_time
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.server.store import Model, Store
from nestevo_hw.terminals.config import TerminalSettings
from nestevo_hw.terminals.link import Address, Link
from nestevo_hw.terminals.terminal import Terminal
from nestevo_hw.wire.documents import Outcome


@contextmanager
def camera(talk, folder, told, **changes):
    settings = TerminalSettings(name="gate", folder=folder, every_frames=1, judged_frames=8, poll_s=0.05, **changes)
    with Link(Address(url=talk.url, name="gate", token=talk.tokens["gate"]), folder / "downloads") as link:
        yield Terminal(settings, link, told.append)


def turn(terminal, frames):
    for frame in digits(frames):
        terminal.take(frame)
    terminal._hello_at = 0.0
    terminal.turn()


def version_of(deployed):
    return hashlib.sha256((deployed / MODEL).read_bytes()).hexdigest()


@pytest.mark.parametrize("full", ["downloads", "versions"])
def test_a_model_for_which_there_is_no_room_does_not_end_the_camera(tmp_path, models, full):
    folder, told = tmp_path / "gate", []
    folder.mkdir()
    (folder / full).write_text("")  # like a full disk: nothing can be written there
    with talking(tmp_path / "state", remote_config()) as talk, camera(talk, folder, told, patience_s=0.05) as terminal:
        talk.served.shelf.publish("gate", models["first"])
        deadline = time.monotonic() + 60

        def frames():
            while terminal.version is None:
                assert time.monotonic() < deadline
                if any("cannot write" in line for line in told) and (folder / full).is_file():
                    (folder / full).unlink()  # there is room again
                yield from digits(1)

        terminal.run(frames())
    assert terminal.version == version_of(models["first"])
    assert [line for line in told if "cannot write" in line] == [told[0]]
    assert str(folder / full) in told[0]


def test_a_failing_model_that_cannot_be_turned_down_is_told_once_and_the_camera_goes_on(tmp_path, models, monkeypatch):
    told = []
    with talking(tmp_path / "state", remote_config()) as talk, camera(talk, tmp_path / "gate", told) as terminal:
        for name in ("first", "next"):
            talk.served.shelf.publish("gate", models[name])
            turn(terminal, 4)

        def fails(_frame):
            raise InputError("no such frames")

        def full(_version):
            raise OutputError("cannot write current.json: no space left")

        monkeypatch.setattr(terminal._model, "reported", fails)
        with monkeypatch.context() as while_full:
            while_full.setattr(terminal._installed, "refuse", full)
            for frame in digits(3):
                terminal.take(frame)
        assert terminal.version == version_of(models["next"])
        assert told.count("cannot write current.json: no space left") == 1
        terminal.take(digits(1)[0])
    assert terminal.version == version_of(models["first"])


def test_what_the_store_cannot_keep_is_one_line(tmp_path):
    store = Store(tmp_path, ["gate"])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match=r"cannot write .*serve\.sqlite: database or disk is full; free space"):
        store.told_outcome("gate", Outcome(version="a" * 64, result="rolled-back", runs=None, reason="b" * 10**5))
    store.close()


def test_a_store_without_room_answers_507_and_not_where_it_lies(tmp_path):
    with talking(tmp_path / "state", remote_config()) as talk, talk.client() as client:
        talk.served.store._db.execute("PRAGMA query_only = 1")
        answer = client.post("/terminals/gate/evolution", json={"estimate": None})
        talk.served.store._db.execute("PRAGMA query_only = 0")
    assert answer.status_code == 507
    assert "cannot keep anything" in answer.json()["error"]
    assert str(tmp_path) not in answer.text


def test_the_newest_model_is_the_last_that_came_whatever_the_clock_said(tmp_path):
    store = Store(tmp_path, ["gate"])
    for version, published_s in (("a", 300.0), ("b", 100.0), ("c", 200.0), ("a", 50.0)):
        store.published("gate", Model(version=version, window=None, bytes=1, published_s=published_s))
    assert [model.version for model in store.models("gate")] == ["a", "c", "b"]
    store.close()


def test_a_model_is_offered_though_the_clock_was_put_back(tmp_path, models, monkeypatch):
    clock = itertools.count(2e9, -1e6)
    monkeypatch.setattr("nestevo_hw.server.shelf.time.time", lambda: next(clock))
    with talking(tmp_path / "state", remote_config(), keep_models=1) as talk:
        for name in ("first", "next"):
            talk.served.shelf.publish("gate", models[name])
        with Link(Address(url=talk.url, name="gate", token=talk.tokens["gate"]), tmp_path / "downloads") as link:
            offer = link.hello(None).offer
    assert offer.version == version_of(models["next"])


@pytest.mark.parametrize(("asked_s", "every_s"), [((1e9,), None), ((), 1000.0)])
def test_a_window_does_not_wait_until_a_clock_that_was_put_back_is_there_again(asked_s, every_s):
    config = ServeConfig(gather_s=10.0, every_s=every_s)
    moment = Moment(now_s=100.0, last_s=1e9, remote=3, able=("a", "b"), asked_s=asked_s)
    assert is_time(moment, config)
    assert not is_time(replace(moment, last_s=99.0, asked_s=tuple(99.0 for _ in asked_s)), config)


def test_a_terminal_asks_by_a_clock_that_was_put_back(tmp_path, models):
    folder, hourly = tmp_path / "gate", {"ask_every_s": 3600.0}
    with talking(tmp_path / "state", remote_config()) as talk, camera(talk, folder, [], **hourly) as terminal:
        talk.served.shelf.publish("gate", models["first"])
        turn(terminal, 4)
        turn(terminal, 0)
        assert terminal.tally.asked == 0
        terminal._know(lambda known: replace(known, asked_s=time.time() + 1e8))
        turn(terminal, 0)
        turn(terminal, 0)
    assert terminal.tally.asked == 1
    assert terminal._known.asked_s <= time.time()


def test_what_became_of_a_model_is_told_before_a_recording_that_ends_is_left(tmp_path, models):
    told = []
    with talking(tmp_path / "state", remote_config()) as talk, camera(talk, tmp_path / "gate", told) as terminal:
        talk.served.shelf.publish("gate", models["first"])
        update = terminal._update

        def slowly(offer):
            assert terminal._over.wait(60)  # the recording ends while the model is fetched
            update(offer)

        terminal._update = slowly
        terminal.run(digits(4))
        seen = talk.served.store.terminal("gate")
    assert terminal.version == version_of(models["first"])
    assert (seen.runs, seen.outcome.result, terminal._known.unsaid) == (terminal.version, "installed", None)
