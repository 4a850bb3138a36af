"""Recorded frames by index, upright and at a given size; and video files as recordings."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError, LostFileError
from nestevo_hw.streams.turning import Turn, turn_of_matrix

MAX_PIXELS = 2**26
"""Of one frame; twice as many as an 8K frame has. A small file can claim any number and would fill the memory."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFrame:
    """One frame of a recording, upright."""

    index: int
    native_size: tuple[int, int]
    """(H, W) in which it was recorded."""
    pixels: Pixels
    """(H, W, 3) RGB in the size that was asked for."""


class FrameSource(Protocol):
    """Recorded frames, readable by index."""

    length: int
    fps: float | None
    """None where the recording does not say."""
    native_size: tuple[int, int]
    """(H, W) of the recording, upright."""
    names: tuple[str, ...]
    """File name of each frame, empty where frames have none."""

    def size_of(self, index: int) -> tuple[int, int]:
        """(H, W) of one frame as recorded, upright; reads no more of it than that takes."""
        ...

    def frames(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[RecordedFrame]:
        """Frames at each of the ascending `indices`, resized to (H, W) `size`."""
        ...


def check_pixels(path: Path, width: int, height: int) -> None:
    """Refuse a frame that memory could not hold, before it is decoded.

    Raises:
        InputError: it has more than MAX_PIXELS.
    """
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path} has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} million; make it smaller"
        )


class VideoFile:
    """A video file; decodes from the key frame before a wanted frame, keeps nothing in memory."""

    def __init__(self, path: Path) -> None:
        """Find every frame's time without decoding it.

        Raises:
            InputError: the file is missing, is no video, has no frames or absurdly many pixels, or is to be shown
                at an oblique angle.
        """
        self._path = path
        self.names: tuple[str, ...] = ()
        if not path.is_file():
            raise LostFileError(f"no video {path}; check the path")
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise InputError(f"{path} has no video track; give a video file or a folder of images")
                track = container.streams.video[0]
                stored = (track.height, track.width)
                check_pixels(path, track.width, track.height)
                self.fps: float | None = float(track.average_rate) if track.average_rate else None
                packets = [(p.pts, p.is_keyframe) for p in container.demux(track) if p.size and not p.is_discard]
        except av.FFmpegError as error:
            raise InputError(f"{path} is not a readable video ({error.strerror}); copy or encode it again") from error
        times = [pts for pts, _ in packets if pts is not None]
        self.length = len(packets)
        if not self.length or 0 in stored:
            raise InputError(f"{path} has no video frames; copy or encode it again")
        self._turn = self._turn_of_first_frame()
        self.native_size = self._turn.size(stored)
        # Without a distinct time for each frame, frames can only be counted from the start.
        self._times = sorted(times) if len(set(times)) == len(packets) else []
        self._keys = {pts for pts, key in packets if key}

    def size_of(self, index: int) -> tuple[int, int]:  # noqa: ARG002 - all frames of a video have one size
        """(H, W) of the recording, upright."""
        return self.native_size

    def frames(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[RecordedFrame]:
        """Upright frames at each of the ascending `indices`, area-resized to (H, W) `size`.

        Raises:
            InputError: a frame cannot be decoded.
        """
        height, width = self._turn.size(size)
        index = position = -1
        decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
        try:
            with av.open(str(self._path)) as container:
                for index in indices:
                    key = self._key_before(index)
                    if position < 0 or key > position:
                        decoded = self._decode_from(container, key)
                    position, frame = next(((i, f) for i, f in decoded if i >= index), (-1, None))
                    if frame is None or position != index:
                        raise InputError(f"{self._path}: frame {index} cannot be decoded; encode the video again")
                    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
                    yield RecordedFrame(index=index, native_size=self.native_size, pixels=self._turn.apply(pixels))
        except av.FFmpegError as error:
            raise InputError(
                f"{self._path}: frame {index} is damaged ({error.strerror}); encode the video again"
            ) from error

    def _turn_of_first_frame(self) -> Turn:
        """What the display matrix says, which decoders hand on with each frame."""
        try:
            with av.open(str(self._path)) as container:
                frame = next(container.decode(container.streams.video[0]), None)
                data = None if frame is None else frame.side_data.get(Type.DISPLAYMATRIX)
                return Turn() if data is None else turn_of_matrix(struct.unpack("=9i", bytes(data)), str(self._path))
        except av.FFmpegError as error:
            raise InputError(f"{self._path}: frame 0 is damaged ({error.strerror}); encode the video again") from error

    def _key_before(self, index: int) -> int:
        """Index of the last key frame at or before `index`; 0 if frames can only be counted."""
        if not self._times:
            return 0
        return next((i for i in range(index, -1, -1) if self._times[i] in self._keys), 0)

    def _decode_from(self, container: InputContainer, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
        track = container.streams.video[0]
        if not self._times:
            container.seek(0)
            yield from enumerate(container.decode(track))
            return
        container.seek(self._times[key], stream=track, backward=True)
        index_of = {time: i for i, time in enumerate(self._times)}
        for frame in container.decode(track):
            if (index := index_of.get(frame.pts)) is not None:
                yield index, frame
