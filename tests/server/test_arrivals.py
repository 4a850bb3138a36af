"""When windows begin, what is sealed for them, and that a kill at any moment changes nothing."""

import threading
from dataclasses import replace

import pytest
from conversation import FREE, NAMES, exporting, picture, remote_config

from nestevo_hw.evolution.inbox import FIRST_MODEL, read_inbox
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.steps.camera import CaptureRequest
from nestevo_hw.evolution.steps.deploying import SelectRequest
from nestevo_hw.server.arrivals import Arrivals, Moment, is_time
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.server.inboxes import Inboxes
from nestevo_hw.server.shelf import Shelf
from nestevo_hw.server.store import Frame, Store
from nestevo_hw.testing.simulated import SimulatedExecutor, drive
from nestevo_hw.wire.documents import Estimate, Outcome

MOMENT = Moment(now_s=100.0, last_s=0.0, remote=3, able=("a", "b"), asked_s=())
CONFIG = ServeConfig(gather_s=10.0, every_s=None, least_frames=2, **FREE)


@pytest.mark.parametrize(
    ("changes", "every_s", "expected"),
    [
        ({}, None, False),
        ({"able": (), "asked_s": (0.0,)}, 1.0, False),
        ({"asked_s": (95.0,)}, None, False),
        ({"asked_s": (90.0,)}, None, True),
        ({"asked_s": (95.0, 99.0, 99.0)}, None, True),
        ({}, 100.0, True),
        ({}, 101.0, False),
    ],
)
def test_a_window_begins_when_somebody_asked_and_others_had_their_time(changes, every_s, expected):
    assert is_time(replace(MOMENT, **changes), replace(CONFIG, every_s=every_s)) is expected


def test_what_is_asked_after_a_window_stands_when_the_server_is_started_again(tmp_path):
    store = Store(tmp_path, ["gate"])
    store.asked("gate", None)
    store.began(0, {"gate": ["a"]})
    assert store.terminal("gate").asked_s is None
    store.ended(0)
    store.asked("gate", None)
    store.close()
    again = Store(tmp_path, ["gate"])
    again.began(0, {"gate": ["a"]})  # as at every start
    assert again.terminal("gate").asked_s is not None
    again.close()


class Room:
    """A server's state without its HTTP."""

    def __init__(self, state, config, limits=CONFIG):
        state.mkdir(exist_ok=True)
        self.layout = RunLayout(state / "run")
        self.store = Store(state, config.remote)
        self.inboxes = Inboxes(state / "frames", self.store, limits, 100)
        self.shelf = Shelf(state / "models", self.store, limits.keep_models)
        self.arrivals = Arrivals(self.layout, limits, self.store, self.inboxes, self.shelf, self.told)

    def told(self, line):
        """Terminals ask again after each window."""
        if "has ended" in line:
            for name in NAMES:
                self.ask(name)

    def send(self, name, count, first=0):
        folder = self.inboxes.folder(name)
        folder.mkdir(exist_ok=True, parents=True)
        for number in range(first, first + count):
            (folder / f"f{number}.jpg").write_bytes(picture(number))
            frame = Frame(seq=0, id=f"f{number}", sha256="0" * 64, file=f"f{number}.jpg", bytes=9, taken_s=0.5 * number)
            self.store.received(name, frame, most=100, most_bytes=10**6)

    def ask(self, name, remains=0.5):
        self.store.asked(name, Estimate(remains=remains, agreement=0.4, confidence=0.6))


@pytest.fixture
def room(tmp_path):
    made = Room(tmp_path / "state", remote_config())
    yield made
    made.store.close()


def test_who_sends_enough_takes_part_and_who_is_silent_does_not(room, models):
    config = remote_config(count=1)
    room.send("gate", 5)
    room.send("belt", 1)
    room.ask("gate")
    room.arrivals = Arrivals(room.layout, replace(CONFIG, gather_s=0.0), room.store, room.inboxes, room.shelf)
    executor = SimulatedExecutor(answers=exporting(models["first"]), remember=True)
    drive(config, room.layout.root, executor, room.arrivals)
    inbox = read_inbox(room.layout.inbox(0, "gate"))
    assert [f.id for f in inbox.frames] == ["f0", "f1", "f2", "f3", "f4"]
    assert (inbox.asked, inbox.estimate.remains, inbox.back_to) == (True, 0.5, None)
    assert (room.layout.inbox(0, "gate") / "00003.jpg").read_bytes() == picture(3)
    assert read_inbox(room.layout.inbox(0, "belt")).frames == ()
    assert room.store.terminal("gate").waiting == 0
    assert room.store.terminal("gate").asked_s is None
    assert room.store.terminal("belt").waiting == 1
    assert not list(room.inboxes.folder("gate").iterdir())
    assert {r.inbox for r in executor.requests(CaptureRequest)} == {room.layout.inbox(0, n) for n in NAMES}
    (window,) = room.store.last_windows()
    assert window.ended_s is not None


def test_models_are_offered_as_they_come(room, models):
    config = remote_config(count=1)
    for name in NAMES:
        room.send(name, 3)
        room.ask(name)
    offered = []
    original = room.shelf.publish
    room.shelf.publish = lambda name, folder: (original(name, folder), offered.append((name, folder.parts[-3])))
    drive(
        config, room.layout.root, SimulatedExecutor(answers=exporting(models["first"], models["next"])), room.arrivals
    )
    assert offered == [("gate", "first"), ("belt", "first"), ("gate", "000"), ("belt", "000")]
    assert [m.window for m in room.store.models("gate")] == [0, None]


def test_after_a_kill_the_sealed_window_comes_to_the_same_tasks(tmp_path, models):
    config = remote_config(count=2)

    def asked(state, kill_at):
        """Tasks of a whole run that was killed once before its n-th task; frames of other windows come meanwhile."""
        done = []
        for limit in (kill_at, None):
            room = Room(state, config)
            room.arrivals.repair()
            room.inboxes.repair(list(NAMES))
            if limit is not None or kill_at is None:
                for name in NAMES:
                    room.send(name, 4)
                    room.ask(name)
            answer = exporting(models["first"], models["next"], models["first"])

            def counting(what, limit=limit, answer=answer, room=room):
                if limit is not None and len(done) == limit:
                    raise KeyboardInterrupt
                done.append((str(what.id), str(what.request).replace(str(state), "")))
                if what.id.kind == "distil" and what.id.window == 0:
                    room.send(what.id.subject, 4, first=10)
                return answer(what)

            try:
                drive(config, room.layout.root, SimulatedExecutor(answers=counting), room.arrivals)
                break
            except KeyboardInterrupt:
                room.store.close()
        inboxes = [read_inbox(room.layout.inbox(w, name)) for w in (0, 1) for name in NAMES]
        room.store.close()
        return sorted(set(done)), inboxes

    whole = asked(tmp_path / "whole", None)
    assert len(whole[0]) > 30
    for number in (5, 9, 16, 20):
        assert asked(tmp_path / f"killed{number}", number) == whole


def test_a_kill_between_sealing_and_taking_leaves_no_frame_twice(room, models):
    room.send("gate", 4)
    room.ask("gate")
    room.arrivals._seal(0, ["gate"])
    assert room.store.terminal("gate").waiting == 4
    again = Arrivals(room.layout, CONFIG, room.store, room.inboxes, room.shelf)
    again.repair()
    assert room.store.terminal("gate").waiting == 0
    assert not list(room.inboxes.folder("gate").iterdir())


def test_a_terminal_that_rolled_back_goes_on_from_what_it_runs(room, models):
    config = remote_config(count=2)
    for name in NAMES:
        room.send(name, 4)
        room.ask(name)
    answer = exporting(models["first"], models["next"], models["first"])

    def rolling_back(what):
        if what.id.kind == "evaluate" and what.id.window == 0:
            room.send(what.id.subject, 4, first=10)
        if isinstance(what.request, CaptureRequest):
            return replace(answer(what), back_to=read_inbox(what.request.inbox).back_to)
        return answer(what)

    seal = room.arrivals._seal

    def told(number, names):
        if number == 1:
            first = next(m.version for m in room.store.models("gate") if m.window is None)
            bad = room.store.terminal("gate").offered
            room.store.told_outcome("gate", Outcome(version=bad, result="rolled-back", runs=first, reason="blind"))
        seal(number, names)

    room.arrivals._seal = told
    room.arrivals._await_frames = list
    executor = SimulatedExecutor(answers=rolling_back, remember=True)
    drive(config, room.layout.root, executor, room.arrivals)
    assert read_inbox(room.layout.inbox(1, "gate")).back_to == FIRST_MODEL
    chosen = {r.upload.parts[-3:-1]: r.candidates for r in executor.requests(SelectRequest)}
    assert chosen["001", "gate"]["old"] == chosen["000", "gate"]["old"]
    assert chosen["001", "belt"]["old"] == chosen["000", "belt"]["evolved"]
    assert room.store.terminal("gate").rolled_back == 1
    lines = room.layout.metrics.read_text()
    assert '"event": "rollback"' in lines
    assert "its first model" in lines


def test_waiting_ends_when_frames_come(room):
    found = []
    waiting = threading.Thread(target=lambda: found.extend(room.arrivals._await_frames(list(NAMES))))
    waiting.start()
    for name in NAMES:
        room.send(name, 2)
        room.ask(name)
    waiting.join(20)
    assert found == list(NAMES)
