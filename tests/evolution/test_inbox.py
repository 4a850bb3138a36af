"""Frames that a terminal has sent, as a window reads them."""

import io

import numpy as np
import pytest
from PIL import Image

from nestevo_hw.base.errors import InputError
from nestevo_hw.evolution.inbox import Inbox, SentFrame, decoded, read_inbox, seal, usual_gap_s


def sent(folder, *pictures):
    folder.mkdir(exist_ok=True)
    frames = []
    for number, (pixels, kind) in enumerate(pictures):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind) if isinstance(pixels, np.ndarray) else file.write(pixels)
        name = f"{number:05d}.png"
        (folder / name).write_bytes(file.getvalue())
        frames.append(SentFrame(id=str(number), file=name, sha256="0" * 64, taken_s=2.0 * number))
    return Inbox(frames=tuple(frames), asked=True)


def grey(value, size=(40, 80)):
    return np.full((*size, 3), value, np.uint8), "PNG"


def test_frames_are_taken_evenly_and_scaled_to_the_long_side(tmp_path):
    inbox = sent(tmp_path / "in", *(grey(20 * k) for k in range(10)))
    batch, taken_s = decoded(tmp_path / "in", inbox, 20, 5)
    assert tuple(batch.images.shape) == (5, 3, 10, 20)
    assert batch.images[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160]
    assert taken_s == (0.0, 4.0, 8.0, 12.0, 16.0)


def test_damaged_frames_and_those_of_another_shape_than_most_are_left_out(tmp_path):
    odd = (grey(10, (1, 1)), grey(10, (2, 3000)))
    inbox = sent(tmp_path / "in", *odd, (b"no image", ""), grey(50), (b"", ""), grey(70), grey(90))
    batch, taken_s = decoded(tmp_path / "in", inbox, 20, 9)
    assert batch.indices == (3, 5, 6)
    assert tuple(batch.images.shape) == (3, 3, 10, 20)
    assert taken_s == (6.0, 10.0, 12.0)


def test_others_take_the_place_of_damaged_frames(tmp_path):
    inbox = sent(tmp_path / "in", *((grey(10 * k) if k % 2 else (b"", "")) for k in range(12)))
    batch, _ = decoded(tmp_path / "in", inbox, 20, 5)
    assert batch.indices == (1, 3, 5, 7, 9)


@pytest.mark.parametrize(
    ("taken_s", "gap_s"),
    [
        ((), 0.0), ((5.0,), 0.0), ((0.0, 2.0, 4.0), 2.0),
        ((0.0, 2.0, 4.0, -3600.0, -3598.0), 2.0),  # the clock was put back by an hour
        ((0.0, 1.0, 2.0, 3.0, 900.0), 1.0),  # a pause
        ((5.0, 5.0), 0.0),
    ],
)  # fmt: skip
def test_how_far_frames_are_apart(taken_s, gap_s):
    assert usual_gap_s(taken_s) == gap_s


def test_a_terminal_that_sent_nothing_has_no_frames(tmp_path):
    assert read_inbox(tmp_path / "none") == Inbox()
    batch, taken_s = decoded(tmp_path, Inbox(), 20, 9)
    assert (len(batch), taken_s) == (0, ())


def test_what_was_sealed_is_what_is_read(tmp_path):
    inbox = sent(tmp_path / "in", grey(1))
    seal(tmp_path / "in", inbox)
    assert read_inbox(tmp_path / "in") == inbox
    (tmp_path / "in" / "sealed.json").write_text("{")
    with pytest.raises(InputError, match=r"sealed\.json is not valid JSON"):
        read_inbox(tmp_path / "in")
