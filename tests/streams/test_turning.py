"""Videos are shown as their display matrix asks for."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.sources import VideoFile
from nestevo_hw.streams.turning import Turn, turn_of_matrix

STORED = np.full((64, 96, 3), 40, np.uint8)
STORED[:24, :32] = (230, 220, 40)
ONE = 1 << 16


def clip(path, matrix):
    """A video whose track header has (a, b, c, d): x goes to (a, b) and y to (c, d)."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=Fraction(8))
        track.height, track.width, track.pix_fmt, track.bit_rate = *STORED.shape[:2], "yuv420p", 4_000_000
        for _ in range(4):
            container.mux(track.encode(av.VideoFrame.from_ndarray(STORED, format="rgb24")))
        container.mux(track.encode(None))
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = matrix
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((ONE, 0, 0, ONE), STORED),
        ((0, ONE, -ONE, 0), np.rot90(STORED, -1)),
        ((-ONE, 0, 0, -ONE), np.rot90(STORED, 2)),
        ((0, -ONE, ONE, 0), np.rot90(STORED, 1)),
        ((-ONE, 0, 0, ONE), STORED[:, ::-1]),
        ((ONE, 0, 0, -ONE), STORED[::-1]),
        ((0, ONE, ONE, 0), STORED.swapaxes(0, 1)),
        ((0, -ONE, -ONE, 0), np.rot90(STORED, 2).swapaxes(0, 1)),
        ((0, 0, 0, 0), STORED),
    ],
)
def test_frames_are_upright_whatever_the_display_matrix_says(tmp_path, matrix, expected):
    video = VideoFile(clip(tmp_path / "a.mp4", matrix))
    assert video.native_size == video.size_of(0) == expected.shape[:2]
    half = (expected.shape[0] // 2, expected.shape[1] // 2)
    (frame,) = video.frames([2], half)
    assert frame.pixels.shape[:2] == half
    assert np.abs(frame.pixels.astype(int) - expected[::2, ::2]).mean() < 8


def test_an_oblique_display_matrix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.mp4 is to be shown at an oblique angle; encode it again, upright"):
        VideoFile(clip(tmp_path / "a.mp4", (46341, 46341, -46341, 46341)))


def test_a_quarter_turn_may_be_rounded():
    assert turn_of_matrix((3, 65530, 0, -65540, -2, 0, 0, 0, 0), "a") == Turn(transposed=True, mirrored=True)


def test_a_video_of_absurd_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nestevo_hw.streams.sources.MAX_PIXELS", 96 * 64 - 1)
    with pytest.raises(InputError, match=r"a\.mp4 has 96 x 64 pixels, more than .* make it smaller"):
        VideoFile(clip(tmp_path / "a.mp4", (ONE, 0, 0, ONE)))
