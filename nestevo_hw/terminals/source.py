"""Frames of a camera: a video file, a stream (rtsp://, http://), or a folder of images."""

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from nestevo_hw.base.errors import InputError, MissingFileError
from nestevo_hw.streams.images import SUFFIXES, in_order
from nestevo_hw.streams.live import LiveSource
from nestevo_hw.terminals.runtime import Frame

STALLED_S = 15.0
"""Without a packet for so long, a stream has ended."""
REOPEN_S = 2.0
"""Before a stream that broke off is opened again, seconds."""
_FOLDER_FPS = 10.0


def open_source(source: str, *, pace: bool, loop: bool) -> Iterator[Frame]:
    """Upright frames (H, W, 3) RGB of a source, one after another, each decoded when it is asked for.

    Args:
        source: path or address.
        pace: give recorded frames as fast as they were taken, and not as fast as they are read.
        loop: begin a recording again when it has ended.

    Raises:
        MissingFileError: there is no such file or folder.
        InputError: it cannot be opened, or shows nothing.
    """
    if "://" in source:
        yield from _live(source)
        return
    path = Path(source)
    if not path.exists():
        raise MissingFileError(
            f"no source {source}; give a video file, a folder of images or an address such as rtsp://.."
        )
    while True:
        shown = 0
        for frame in _folder(path, pace=pace) if path.is_dir() else _recorded(path, pace=pace):
            shown += 1
            yield frame
        if not shown:
            raise InputError(f"{source} has no frames; give another --source")
        if not loop:
            return


def _live(address: str) -> Iterator[Frame]:
    """Frames of a stream, which is opened again whenever it ends; one that never gave any is refused."""
    shown = False
    while True:
        try:
            for frame in LiveSource(address, timeout_s=STALLED_S):
                shown = True
                yield frame.pixels
        except InputError:
            if not shown:
                raise
        time.sleep(REOPEN_S)


def _folder(path: Path, *, pace: bool) -> Iterator[Frame]:
    for image in in_order([p for p in path.iterdir() if p.suffix.lower() in SUFFIXES]):
        began = time.monotonic()
        yield from _recorded(image, pace=False)
        if pace:
            time.sleep(max(0.0, began + 1 / _FOLDER_FPS - time.monotonic()))


def _recorded(path: Path, *, pace: bool) -> Iterator[Frame]:
    began = time.monotonic()
    try:
        for frame in LiveSource(str(path), timeout_s=STALLED_S):
            if pace:
                time.sleep(max(0.0, began + frame.time_s - time.monotonic()))
            yield frame.pixels
    except InputError as error:
        raise InputError(f"source {path} cannot be read: {error}") from error


def jpeg(frame: Frame) -> bytes:
    """A frame as a JPEG of high quality, colours at full resolution."""
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuvj444p")
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, "yuvj444p"
    codec.time_base, codec.options = Fraction(1, 10), {"qmin": "2", "qmax": "2"}
    packets = [*codec.encode(picture), *codec.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
