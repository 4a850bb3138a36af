"""A model as differences from another: always the very file, or a refusal."""

import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.base.errors import InputError
from nestevo_hw.wire.delta import MAGIC, Shared, apply_delta, make_delta

WEIGHTS = np.random.default_rng(0).normal(0, 0.05, 5000).astype(np.float32)
MOVED = WEIGHTS * np.float32(1.0001)
OLD = b"head of the old file" + WEIGHTS.tobytes() + b"tail"
NEW = b"a new head" + MOVED.tobytes() + b"and another tail"
PARTS = [Shared(old=20, new=10, count=WEIGHTS.nbytes)]


def test_little_is_sent_of_weights_that_moved_little():
    package = make_delta(OLD, NEW, PARTS)
    assert apply_delta(OLD, package) == NEW
    assert len(package) < 0.6 * len(lzma.compress(NEW))


@settings(max_examples=60, deadline=None)
@given(old=st.binary(max_size=200), new=st.binary(max_size=200), data=st.data())
def test_any_file_comes_out_of_any_other(old, new, data):
    shared, place = [], 0
    while place + 4 <= len(new) and len(old) >= 4 and data.draw(st.booleans()):
        count = 4 * data.draw(st.integers(0, min(len(new) - place, len(old)) // 4))
        shared.append(Shared(old=data.draw(st.integers(0, len(old) - count)), new=place, count=count))
        place += count + data.draw(st.integers(0, 5))
        if place > len(new):
            break
    assert apply_delta(old, make_delta(old, new, shared)) == new


def test_nothing_shared_is_the_whole_file():
    assert apply_delta(b"", make_delta(b"", NEW, [])) == NEW
    assert apply_delta(OLD, make_delta(OLD, b"", [])) == b""


def test_another_old_model_is_refused():
    with pytest.raises(InputError, match="of another model"):
        apply_delta(OLD + b"x", make_delta(OLD, NEW, PARTS))


def test_a_damaged_package_is_refused_wherever_it_is_damaged():
    package = make_delta(OLD, NEW, PARTS)
    for place in range(0, len(package), len(package) // 150):
        changed = bytearray(package)
        changed[place] ^= 0x55
        with pytest.raises(InputError):
            apply_delta(OLD, bytes(changed))
    for length in (0, 5, len(MAGIC), len(MAGIC) + 10, len(package) - 1):
        with pytest.raises(InputError):
            apply_delta(OLD, package[:length])


@pytest.mark.parametrize(
    "shared",
    [
        [[0, 0, 4], [0, 2, 4]], [[-4, 0, 4]], [[0, -4, 4]], [[0, 0, -4]], [[0, 0, 3]], [[10**9, 0, 4]],
        [[0, 10**12, 4]], [[0, 0, 10**15]],
    ],
)  # fmt: skip
def test_a_package_that_points_out_of_its_files_is_refused(shared):
    body = lzma.decompress(make_delta(OLD, NEW, [])[len(MAGIC) :])
    length = int.from_bytes(body[:8], "little")
    text = body[8 : 8 + length].replace(b'"shared": []', b'"shared": ' + str(shared).encode())
    made = MAGIC + lzma.compress(len(text).to_bytes(8, "little") + text + body[8 + length :])
    with pytest.raises(InputError):
        apply_delta(OLD, made)
