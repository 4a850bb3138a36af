"""What a terminal sends, against what an evolution takes."""

import pytest

from nestevo_hw.terminals.spool import Spool
from nestevo_hw.terminals.uploads import Uploads
from nestevo_hw.wire.documents import Welcome

WANTED, PERIOD_S = 4, 100.0


class Camera:
    """A terminal that takes a frame a second; the clock is its own."""

    def __init__(self, folder, budget_bytes=1e9):
        self.now_s, self.spool, self.log = 0.0, Spool(folder, 200), []
        self.uploads = Uploads(budget_bytes, PERIOD_S, lambda: self.now_s)

    def welcome(self, there):
        self.uploads.told(
            Welcome(offer=None, pending=False, waiting_frames=there, wanted_frames=WANTED, frame_bytes=10**6)
        )

    def take(self, frames):
        for _ in range(frames):
            self.now_s += 1.0
            self.spool.put(f"{self.now_s:09}".encode(), self.now_s)

    def send(self):
        while (frame := self.uploads.next(self.spool.waiting())) is not None:
            self.uploads.sent(frame.bytes)
            self.log.append(round(frame.taken_s))
            self.spool.drop_until(frame)


@pytest.fixture
def camera(tmp_path):
    return Camera(tmp_path)


def test_nothing_is_sent_before_the_server_says_what_it_wants(camera):
    camera.take(3)
    camera.send()
    assert camera.log == []


def test_it_sends_what_an_evolution_takes_evenly_and_then_replaces_as_much_a_period(camera):
    camera.take(8)
    camera.welcome(there=0)
    camera.send()
    assert camera.log == [2, 4, 6, 8]
    for _ in range(100):
        camera.take(1)
        camera.send()
    assert camera.log[4:] == [33, 58, 83, 108]
    assert camera.spool.waiting() == []


def test_what_waits_at_the_server_is_not_sent_again(camera):
    camera.welcome(there=3)
    camera.take(9)
    camera.send()
    assert camera.log == [9]


def test_before_it_asks_the_newest_frames_are_sent_whatever_waits_there(camera):
    camera.welcome(there=0)
    camera.take(4)
    camera.send()
    camera.take(20)
    camera.uploads.renew()
    camera.welcome(there=4)
    camera.send()
    assert camera.log[4:] == [9, 14, 19, 24]


def test_a_window_has_taken_them_and_more_are_wanted(camera):
    camera.welcome(there=0)
    camera.take(4)
    camera.send()
    camera.take(2)
    camera.send()
    camera.welcome(there=0)
    camera.send()
    assert camera.log == [1, 2, 3, 4, 5, 6]


def test_the_budget_holds_and_what_was_not_sent_costs_nothing(tmp_path):
    camera = Camera(tmp_path, budget_bytes=2.5 * 9)
    camera.welcome(there=0)
    camera.take(4)
    for _ in range(5):  # a server that does not answer
        assert camera.uploads.next(camera.spool.waiting()) is not None
    camera.send()
    assert camera.log == [1, 2]
    camera.now_s += 0.7 * PERIOD_S
    camera.send()
    assert camera.log == [1, 2, 3, 4]
