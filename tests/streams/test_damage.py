"""Damaged stretches of a recording are left out, others stand in for them, and both are counted."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from nestevo_hw.base.errors import InputError
from nestevo_hw.evolution.cameras import capture_window, reference_frames
from nestevo_hw.evolution.check import check_run, input_warnings
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.streams.sources import VideoFile
from nestevo_hw.streams.video import VideoStream
from tests.streams.clips import WIDTH, damage, number, write_clip

FRAMES = 120
LOST = {*range(15, 24), *range(29, 36), *range(49, 60)}
"""From each damaged frame to the next key frame, of which every twelfth is one."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    damage(write_clip(folder / "whole.mp4", FRAMES), folder / "gate.mp4", [15, 16, 29, 49])
    return folder / "gate.mp4"


def opened(path):
    return VideoStream(name="gate", path=path, long_side=WIDTH)


def test_no_damaged_frame_is_handed_out_in_whatever_order_frames_are_asked_for(clip):
    file = VideoFile(clip)
    expected = [k for k in range(FRAMES) if k not in LOST]
    assert file.length == FRAMES
    assert file.whole(range(FRAMES)) == expected
    for wanted in (range(FRAMES), range(3, FRAMES, 7), [14, 15, 16, 23, 24, 35, 36], [59, 60], [15], [119]):
        found = [(f.index, number(f.pixels)) for f in file.frames(wanted, file.native_size)]
        assert found == [(k, k) for k in wanted if k not in LOST]


def test_the_nearest_whole_frames_stand_in(clip):
    stream = opened(clip)
    assert stream.instead([0, 40], range(FRAMES)) == [0, 40]
    assert stream.damage is None
    assert stream.instead([10, 14, 16, 23, 31, 40], range(50)) == [10, 13, 14, 24, 28, 40]
    assert stream.instead([14, 16, 40], [14, 40]) == [14, 40], "none is left to stand in"
    assert (stream.damage.frames, stream.damage.damaged) == (7, 3)
    assert stream.damage.warnings == (
        f"video {clip}: 3 of 7 frames looked at are damaged, the first is 16; whole ones nearby are used instead, or "
        "none",
    )
    with pytest.raises(InputError, match=r"2 of 3 frames from 14 to 17 are damaged, more than half; copy or record"):
        stream.instead([14, 16, 17], range(FRAMES))
    with pytest.raises(InputError, match=r"gate\.mp4: frame 15 is damaged; encode or record the video again"):
        stream.read([14, 15])


def config(video, **changes):
    terminal = {"name": "gate", "model": "fasterrcnn-tiny-m1", "video": str(video), "start_frame": 40}
    settings = {
        "window.count": 1, "window.length_s": 7.0, "window.upload_frames": 10, "window.test_frames": 10,
        "window.upload_spacing": 4, "reference.segments_per_place": 5, "reference.frames_per_segment": 4,
        "drift.gamma": 0.5,
    }  # fmt: skip
    return override(
        parse_config({**load_preset("quick").document(), "terminals": [terminal]}, source="t"), settings | changes
    )


def test_a_run_plans_around_damage_and_says_so(clip):
    settings = config(clip)
    captured, (reference, _) = capture_window(settings, "gate", 0), reference_frames(settings)
    whole = capture_window(config(clip.with_name("whole.mp4")), "gate", 0)
    assert (len(captured.upload), len(captured.test)) == (10, 10)
    for batch in (captured.upload, captured.test, reference):
        assert not LOST & set(batch.indices)
    assert set(whole.test.indices) - LOST <= set(captured.test.indices)
    review = check_run(settings)["gate"]
    assert review.labels is None
    planned = {*whole.upload.indices, *whole.test.indices}
    assert (review.damage.frames, review.damage.damaged) == (len(planned), len(planned & LOST)) == (20, 2)
    assert input_warnings({"gate": review}) == list(review.damage.warnings)


def test_a_recording_more_than_half_damaged_is_refused(clip, tmp_path):
    damage(clip.with_name("whole.mp4"), tmp_path / "bad.mp4", range(41, FRAMES, 2))
    with pytest.raises(InputError, match=r"bad\.mp4: 6 of 10 frames from 40 to 76 are damaged, more than half"):
        check_run(config(tmp_path / "bad.mp4"))


def test_corrupt_bytes_in_the_middle_of_a_real_clip(tmp_path):
    """An independent decoder run, frame by frame over the whole file, says what is as it was."""
    source = Path(os.environ.get("NESTEVO_DATA", "absent")) / "video" / "bikes.mp4"
    if not source.is_file():
        pytest.skip("NESTEVO_DATA names no folder with video/bikes.mp4")
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    (tmp_path / "bad.mp4").write_bytes(data)
    with av.open(str(source)) as container:
        before = [
            f.to_ndarray(format="rgb24", width=120, height=52, interpolation="AREA") for f in container.decode(video=0)
        ]
    file = VideoFile(tmp_path / "bad.mp4")
    found = {f.index: f.pixels for f in file.frames(range(file.length), (52, 120))}
    assert 0 < file.length - len(found) < file.length // 2
    for index, pixels in found.items():
        assert np.abs(pixels.astype(int) - before[index]).mean() < 1
