"""Image folders: upright, in the order in which they were taken, 16 bits scaled, and no more than memory holds."""

import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.images import ImageFolder
from nestevo_hw.streams.turning import EXIF

STORED = np.zeros((24, 32, 3), np.uint8)
STORED[:8, :16] = (240, 0, 0)
STORED[16:, 24:] = (0, 240, 0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(path, side):
    """A PNG that claims to have side x side pixels, in a few bytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def oriented(path, orientation):
    image = Image.fromarray(STORED)
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(path, exif=exif, quality=100, subsampling=0)


def upright(orientation):
    """By the table of the EXIF standard: which side of the scene row 0 and column 0 show."""
    image = Image.fromarray(STORED)
    how = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)  # fmt: skip
    return np.asarray(image if how is None else image.transpose(how))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", [1, *EXIF])
def test_images_are_upright_whatever_their_exif_says(tmp_path, orientation, suffix):
    oriented(tmp_path / f"a.{suffix}", orientation)
    folder, expected = ImageFolder(tmp_path), upright(orientation)
    assert folder.native_size == folder.size_of(0) == expected.shape[:2]
    (frame,) = folder.frames([0], expected.shape[:2])
    assert frame.native_size == expected.shape[:2]
    assert np.abs(frame.pixels.astype(int) - expected).mean() < (0.1 if suffix == "png" else 12)
    assert np.abs(frame.pixels.astype(int) - expected[::-1]).mean() > 30


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    ramp = (np.arange(256)[None] * 257).repeat(16, 0).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    (frame,) = ImageFolder(tmp_path).frames([0], (16, 256))
    assert frame.pixels[3, :, 1].tolist() == list(range(256))


def test_names_count_and_one_without_a_number_comes_first(tmp_path):
    expected = ["cam.png", "cam1.png", "cam2.png", "cam2_9.png", "cam2_10.png", "cam10.png", "cam011.png"]
    for name in sorted(expected):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    assert ImageFolder(tmp_path).names == tuple(expected)


def taken(path, stamp, part=None):
    image = Image.new("RGB", (32, 32))
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = stamp
    if part:
        details[ExifTags.Base.SubsecTimeOriginal] = part
    image.save(path, exif=exif)


def test_time_stamps_come_before_names_where_every_image_has_one(tmp_path):
    taken(tmp_path / "0001.jpg", "2024:05:01 10:00:01", "50")
    taken(tmp_path / "0002.jpg", "2024:05:01 10:00:01", "7")
    taken(tmp_path / "9998.jpg", "2024:04:30 23:59:59")
    taken(tmp_path / "9999.jpg", "2024:05:01 10:00:00")
    assert ImageFolder(tmp_path).names == ("9998.jpg", "9999.jpg", "0001.jpg", "0002.jpg")
    Image.new("RGB", (32, 32)).save(tmp_path / "5000.jpg")
    assert ImageFolder(tmp_path).names == ("0001.jpg", "0002.jpg", "5000.jpg", "9998.jpg", "9999.jpg")


@pytest.mark.parametrize("side", [8200, 10_000, 20_000, 2**31 - 1])
def test_an_image_of_absurd_size_is_refused_at_once(tmp_path, side):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    bomb(tmp_path / "b.png", side)
    folder, start = ImageFolder(tmp_path), time.monotonic()
    for look in (folder.size_of, lambda index: list(folder.frames([index], (32, 32)))):
        with pytest.raises(InputError, match=r"b\.png has .*more than 67 million.*; make it smaller"):
            look(1)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"b\.png has .*more than 67 million"):
        ImageFolder(tmp_path)
    assert time.monotonic() - start < 1


def test_a_pipe_is_no_image(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png is not a file; remove or replace it"):
        ImageFolder(tmp_path)


def test_an_image_that_became_a_pipe_is_not_waited_for(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    folder = ImageFolder(tmp_path)
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is not a file"):
        folder.size_of(0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_damaged_images_are_one_line(tmp_path, suffix):
    """Any byte of a file may be wrong; it is read or refused."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(STORED).save(path)
    whole, random, refusals = path.read_bytes(), np.random.default_rng(0), []
    for k in range(150):
        data = bytearray(whole[: random.integers(1, len(whole))] if k % 3 == 0 else whole)
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        try:
            list(ImageFolder(tmp_path).frames([0], (24, 32)))
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not any("\n" in text for text in refusals)
