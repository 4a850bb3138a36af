"""Folders of image files as recordings."""

import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.sources import MAX_PIXELS, FrameSource, Pixels, RecordedFrame, VideoFile, check_pixels
from nestevo_hw.streams.turning import EXIF, Turn

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_DEPTH = 65535
"""Largest value of a 16-bit pixel."""
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error, zlib.error)
"""What Pillow's decoders raise about a damaged file."""


class ImageFolder:
    """Image files of one folder, upright; all get the size of the first.

    Their order is that of their EXIF time stamps if every one has one, else that of their names, in which numbers count
    as numbers: 2 comes before 10.
    """

    def __init__(self, path: Path) -> None:
        """List the images.

        Raises:
            InputError: the folder has no images, one of them is no file, or the first is unreadable.
        """
        with os.scandir(path) as entries:
            found = [e for e in entries if e.name.lower().endswith(SUFFIXES)]
            if not found:
                raise InputError(f"folder {path} has no images ({', '.join(SUFFIXES)})")
            odd = next((e.name for e in found if not e.is_file()), None)
        if odd is not None:
            raise InputError(f"{path / odd} is not a file; remove or replace it")
        self._paths = in_order([path / e.name for e in found])
        self.names = tuple(p.name for p in self._paths)
        self.length = len(self._paths)
        self.fps: float | None = None
        self.native_size = self.size_of(0)

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W) of one image, upright.

        Raises:
            InputError: the image is unreadable or has absurdly many pixels.
        """
        return image_size(self._paths[index])

    def frames(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[RecordedFrame]:
        """Upright frames at each of the `indices`, resized to (H, W) `size`.

        Raises:
            InputError: an image is unreadable or has absurdly many pixels.
        """
        for index in indices:
            yield read_scaled(self._paths[index], size, index=index)

    def whole(self, indices: Sequence[int]) -> list[int]:
        """All of them: an image that cannot be read is refused, since it can be removed."""
        return list(indices)


def read_scaled(path: Path, size: tuple[int, int], *, index: int = 0) -> RecordedFrame:
    """An image file, upright and resized to (H, W) `size`; `index` is the frame's.

    Raises:
        InputError: the image is unreadable or has absurdly many pixels.
    """
    with _opened(path) as image:
        turn = _turn(image)
        height, width = turn.size(size)
        small = _rgb(image, path).resize((width, height), Image.Resampling.BOX)
        native = turn.size((image.height, image.width))
    return RecordedFrame(index=index, native_size=native, pixels=turn.apply(np.asarray(small)))


def check_sent(path: Path, most_pixels: int) -> Literal[".jpg", ".png"]:
    """Look at the head of an image from outside; no pixel is decoded.

    Args:
        path: of the file.
        most_pixels: that it may claim to have.

    Returns:
        The ending that suits it.

    Raises:
        InputError: it is neither JPEG nor PNG, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                kind, width, height = image.format, image.width, image.height
    except Image.DecompressionBombError as error:
        raise InputError(f"more than {most_pixels} pixels") from error
    except _BROKEN as error:
        raise InputError("not a JPEG or PNG image that can be read") from error
    if width * height > most_pixels:
        raise InputError(f"{width} x {height} pixels, the most is {most_pixels}")
    return ".jpg" if kind == "JPEG" else ".png"


def scaled_to_long_side(native: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) of a frame whose long side is made so many pixels; its shape is kept."""
    return scaled(native, long_side / max(native))


def scaled(native: tuple[int, int], ratio: float) -> tuple[int, int]:
    """(H, W) of a frame so many times as large; at least one pixel."""
    height, width = native
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def open_recording(path: Path) -> FrameSource:
    """A folder of images, or a video file.

    Raises:
        InputError: it is missing, or neither.
    """
    return ImageFolder(path) if path.is_dir() else VideoFile(path)


def native_frames(source: FrameSource, indices: Sequence[int]) -> Iterator[RecordedFrame]:
    """Frames at each of the ascending `indices` in their own size, which all frames of a video share.

    Raises:
        InputError: one cannot be decoded.
    """
    if not source.names:
        yield from source.frames(indices, source.native_size)
    for index in indices if source.names else ():
        yield from source.frames([index], source.size_of(index))


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image file, upright.

    Raises:
        InputError: the image is unreadable or has absurdly many pixels.
    """
    with _opened(path) as image:
        return _turn(image).size((image.height, image.width))


def read_image(path: Path) -> Pixels:
    """(H, W, 3) RGB pixels of an image file, upright.

    Raises:
        InputError: the image is unreadable or has absurdly many pixels.
    """
    with _opened(path) as image:
        return _turn(image).apply(np.asarray(_rgb(image, path)))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image whose size is known and sane, and whose pixels have not been decoded yet."""
    if not path.is_file():  # a pipe would be waited on for ever
        raise InputError(f"{path} is not a file; remove or replace it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            check_pixels(path, image.width, image.height)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} has more than {MAX_PIXELS // 10**6} million pixels; make it smaller") from error
    except _BROKEN as error:
        raise InputError(f"{path} is not a readable image; remove or replace it") from error


def _turn(image: Image.Image) -> Turn:
    return EXIF.get(image.getexif().get(ExifTags.Base.Orientation, 1), Turn())


def _rgb(image: Image.Image, path: Path) -> Image.Image:
    """8 bits a channel; of 16 the upper ones, as Pillow itself does with 16-bit colour."""
    if image.mode == "F":
        raise InputError(f"{path} has floating-point pixels; save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image.convert("RGB")
    grey = np.asarray(image)  # convert("RGB") would cut it off at 255
    if grey.min() < 0 or grey.max() > _DEPTH:
        raise InputError(f"{path} has pixels of more than 16 bits; save it with 8 or 16 bits")
    return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Image files by their EXIF time stamps if every one has one, else by their names, in which numbers count as such.

    Raises:
        InputError: one is unreadable.
    """
    named = sorted(paths, key=lambda path: _natural(path.name))
    stamps: dict[Path, str] = {}
    for path in named:
        stamp = _stamp(path)
        if not stamp:  # one without suffices: reading all headers takes a while
            return named
        stamps[path] = stamp
    return sorted(named, key=stamps.__getitem__)


def _natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """A sort key in which numbers count as numbers, and a name without one comes before those with one."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", Path(name).stem)
    return [(text, int(digits or -1)) for text, digits in parts], name


def _stamp(path: Path) -> str:
    """When an image was taken, as its EXIF says it; "" if it does not. Such texts sort by time."""
    with _opened(path) as image:
        if "exif" not in image.info:  # of a PNG, asking for what is not there would decode all pixels
            return ""
        details = image.getexif().get_ifd(ExifTags.IFD.Exif)
        taken = details.get(ExifTags.Base.DateTimeOriginal, "")
        if not re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", str(taken).strip()):
            return ""
        return f"{str(taken).strip()}.{str(details.get(ExifTags.Base.SubsecTimeOriginal, '')).strip()}"
