"""Cameras read while they send: order, times, lost connections and damage."""

from pathlib import Path

import pytest

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.live import LiveSource
from tests.streams.clips import HEIGHT, WIDTH, damage, number, rtsp_camera, sent, serving, write_clip


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now_s, self.pauses = 0.0, list[float]()

    def read(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


def opened(address: str | Path, **how: object) -> tuple[LiveSource, Clock]:
    clock = Clock()
    return LiveSource(str(address), pause=clock.pause, clock=clock.read, **how), clock


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_a_file_is_read_once_with_its_own_times(tmp_path, suffix):
    source, _ = opened(write_clip(tmp_path / f"a.{suffix}", 30))
    frames = list(source)
    assert [number(f.pixels) for f in frames] == list(range(30))
    assert [round(f.time_s, 3) for f in frames] == [k / 10 for k in range(30)]
    assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
    assert (source.reconnections, source.damaged, source.rate) == (0, 0, 10.0)


@pytest.mark.parametrize(("fps", "expected"), [(5, range(0, 30, 2)), (4, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]),
                                               (100, range(30))])  # fmt: skip
def test_frames_between_are_left_out(tmp_path, fps, expected):
    source, _ = opened(write_clip(tmp_path / "a.mp4", 30), fps=fps)
    assert [number(pixels) for _, pixels in source] == list(expected)


def test_damaged_frames_are_left_out_up_to_the_next_key_frame(tmp_path):
    """Every twelfth is a key frame; the codec keeps the order in the file."""
    clip = write_clip(tmp_path / "a.mp4", 48)
    bad = damage(clip, tmp_path / "bad.mp4", [15, 16, 29])
    assert bad == [15, 16, 29]
    source, _ = opened(tmp_path / "bad.mp4")
    assert [number(pixels) for _, pixels in source] == [k for k in range(48) if not (15 <= k < 24 or 29 <= k < 36)]
    assert source.damaged == 9 + 7


def test_a_camera_that_hangs_up_is_called_again(tmp_path):
    """Frames 0 to 19 of the first connection, 40 to 59 of the third; the second is refused."""
    parts = [write_clip(tmp_path / f"{first}.ts", 20, first=first).read_bytes() for first in (0, 40)]

    def answer(handler, count):
        if count == 1:
            handler.send_error(503)
        else:
            sent(handler, parts[count // 2])

    with serving(answer) as address:
        source, clock = opened(address)
        frames = [next(stream) for stream in [iter(source)] for _ in range(40)]
    assert [number(pixels) for _, pixels in frames] == [*range(20), *range(40, 60)]
    assert source.reconnections == 2
    assert clock.pauses == [0.5, 1.0]
    times = [round(time_s, 3) for time_s, _ in frames]
    assert times[:20] == [k / 10 for k in range(20)]
    assert times[20:] == [round(1.9 + 1.5 + k / 10, 3) for k in range(20)], "the gap is what this machine waited"


def test_a_camera_that_speaks_rtsp_is_read_and_asked_for_its_password(tmp_path):
    body = write_clip(tmp_path / "a.ts", 30).read_bytes()
    with rtsp_camera(body, "me:secret") as address:
        with pytest.raises(
            InputError, match=r"^cannot read rtsp://127.0.0.1:\d+/camera: .*; check the address"
        ) as refused:
            list(opened(address.replace("//", "//me:wrong@"))[0])
        source, _ = opened(address.replace("//", "//me:secret@"))
        found = [number(frame.pixels) for frame, _ in zip(source, range(25), strict=False)]
    assert "wrong" not in str(refused.value)
    assert found == list(range(25))


def test_a_camera_that_stays_away_is_given_up(tmp_path):
    body = write_clip(tmp_path / "a.ts", 20).read_bytes()

    def answer(handler, count):
        sent(handler, body) if not count else handler.send_error(404)

    with serving(answer) as address:
        source, clock = opened(address, patience_s=20)
        with pytest.raises(InputError, match=r"was lost and did not come back within 20 s; look at the camera"):
            list(source)
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_file_whose_transfer_breaks_off_is_read_to_its_end(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write_clip(path, 100)
    if suffix == "mp4":  # with its table in front, as files for the web have it
        import av

        with (
            av.open(str(path)) as whole,
            av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as out,
        ):
            track = out.add_stream_from_template(whole.streams.video[0])
            for packet in whole.demux(whole.streams.video[0]):
                if packet.size:
                    packet.stream = track
                    out.mux(packet)
        path = tmp_path / "b.mp4"
    body = path.read_bytes()

    def answer(handler, count):
        sent(handler, body if count else body[: len(body) * 2 // 3], length=len(body))

    with serving(answer) as address:
        source, _ = opened(address)
        found = [number(pixels) for _, pixels in source]
    assert found == list(range(100))
    assert source.reconnections == 1


def test_what_cannot_be_read_is_one_line_without_the_password(tmp_path):
    with pytest.raises(ConfigError, match=r"^gopher://b: unknown scheme gopher; use one of rtsp"):
        LiveSource("gopher://me:secret@b")
    with pytest.raises(InputError, match=r"^no file or camera /dev/video77; check the path"):
        LiveSource("/dev/video77")
    with pytest.raises(ConfigError, match=r"^fps: need a number"):
        LiveSource("rtsp://a", fps=0)
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(InputError, match=r"^cannot read .*a\.mp4: Invalid data"):
        list(LiveSource(str(tmp_path / "a.mp4")))
    with serving(lambda handler, _: handler.send_error(404)) as address:
        secret = address.replace("//", "//me:secret@")
        with pytest.raises(
            InputError, match=r"^cannot read http://127.0.0.1:\d+/camera: .*; check the address"
        ) as found:
            list(LiveSource(secret))
    assert "secret" not in str(found.value)
