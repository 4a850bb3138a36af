"""`nestevo-hw record`: what comes is kept, in order and in time, however it ends."""

import os
import signal
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.base.interruption import asked_to_stop
from nestevo_hw.commands.record import record
from nestevo_hw.streams import recording
from nestevo_hw.streams.live import LiveFrame
from nestevo_hw.streams.sources import VideoFile
from tests.streams.clips import HEIGHT, WIDTH, damage, number, picture, sent, serving, write_clip


def numbers(path: Path) -> list[int]:
    file = VideoFile(path)
    return [number(frame.pixels) for frame in file.frames(range(file.length), file.native_size)]


def run(*words: str | Path):
    return CliRunner().invoke(record, [str(word) for word in words])


def test_a_stream_becomes_a_file_of_as_many_seconds_and_frames_a_second(tmp_path):
    body = write_clip(tmp_path / "a.ts", 60).read_bytes()
    with serving(lambda handler, _: sent(handler, body)) as address:
        done = run(address, tmp_path / "out.mp4", "--seconds", 4, "--fps", 5)
    assert done.exit_code == 0, done.output
    assert f"20 frames of {WIDTH} x {HEIGHT} in 3.8 s" in done.stdout
    assert numbers(tmp_path / "out.mp4") == list(range(0, 40, 2))
    assert VideoFile(tmp_path / "out.mp4").fps == pytest.approx(5)


def test_what_is_lost_is_counted(tmp_path):
    """A file over HTTP that breaks off once, with a damaged stretch from a frame to the next key frame."""
    clip = write_clip(tmp_path / "a.mp4", 60)
    damage(clip, tmp_path / "bad.mp4", [15])
    done = run(tmp_path / "bad.mp4", tmp_path / "out.mp4", "--seconds", 100, "--json")
    assert done.exit_code == 0
    assert '"damaged": 9' in done.stdout
    assert "Warning: 9 damaged frames are left out" in done.stderr
    assert numbers(tmp_path / "out.mp4") == [*range(15), *range(24, 60)]
    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [round(frame.time, 2) for frame in container.decode(video=0)]
    assert times == [k / 10 for k in (*range(15), *range(24, 60))], "the gap stays a gap"


def test_ctrl_c_keeps_what_has_come(tmp_path, monkeypatch):
    """The signal comes while a frame is written, where an exception would tear it out of the middle."""
    write_clip(tmp_path / "a.mp4", 60)
    original, count = recording._frame, iter(range(1000))

    def interrupted(*given):
        if next(count) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*given)

    monkeypatch.setattr(recording, "_frame", interrupted)
    done = run(tmp_path / "a.mp4", tmp_path / "out.mp4", "--seconds", 100)
    assert done.exit_code == 130
    assert "Error: stopped; kept" in done.stderr
    assert "21 frames" in done.stderr
    assert numbers(tmp_path / "out.mp4") == list(range(21))
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".tmp"] == []


def test_a_second_signal_ends_at_once():
    with asked_to_stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_odd_sides_lose_a_row_and_memory_stays_small(tmp_path):
    frames = (LiveFrame(k / 10, picture(k)[: HEIGHT - 1, : WIDTH - 1]) for k in range(5))
    found = recording.record(frames, tmp_path / "out.mp4", seconds=9)
    assert (found.size, found.frames, found.seconds) == ((HEIGHT - 2, WIDTH - 2), 5, 0.4)


def test_nothing_is_left_where_nothing_came(tmp_path):
    with pytest.raises(InputError, match=r"no frame came"):
        recording.record(iter(()), tmp_path / "out.mp4", seconds=1)
    assert list(tmp_path.iterdir()) == []
    full = "/dev/full/out.mp4"
    with pytest.raises(OutputError, match="cannot write"):
        recording.record([LiveFrame(0.0, picture(0))], Path(full), seconds=1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("gone.mp4", "out.mp4", "--seconds", "1"), 2, "no file or camera gone.mp4; check the path"),
        (("a.mp4", "out.avi", "--seconds", "1"), 2, "OUT: need a name that ends in .mp4, got out.avi"),
        (("a.mp4", "a.mp4", "--seconds", "1"), 2, "a.mp4 exists; choose another name, or overwrite it with --force"),
        (("a.mp4", "out.mp4", "--seconds", "0"), 2, "need a number from 0.1"),
        (
            ("rtsp://me:secret@127.0.0.1:9/a", "out.mp4", "--seconds", "1"),
            1,
            "cannot read rtsp://127.0.0.1:9/a: Connection",
        ),
        (("ftp://a", "out.mp4", "--seconds", "1"), 2, "unknown scheme ftp"),
        (("rtsp://me:secret@[::1", "out.mp4", "--seconds", "1"), 2, "rtsp://[::1 is no address: Invalid IPv6 URL"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.mp4", 3)
    before = (tmp_path / "a.mp4").read_bytes()
    done = run(*words)
    assert (done.exit_code, message in done.stderr) == (code, True), done.stderr
    assert "secret" not in done.output
    assert (tmp_path / "a.mp4").read_bytes() == before


def test_a_recording_is_not_written_over_itself(tmp_path):
    kept = write_clip(tmp_path / "a.mp4", 30).read_bytes()
    done = run(tmp_path / "a.mp4", tmp_path / "." / "a.mp4", "--seconds", 1, "--force")
    assert done.exit_code == 2
    assert "is the recording to read; choose another name" in done.stderr
    assert (tmp_path / "a.mp4").read_bytes() == kept
