"""Recorded frames by index, upright and at a given size; and video files as recordings."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream as Track
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError, LostFileError
from nestevo_hw.base.files import require_file
from nestevo_hw.streams.decoding import turn_of_frame, whole_frames

MAX_PIXELS = 2**26
"""Of one frame; twice as many as an 8K frame has. A small file can claim any number and would fill the memory."""
Pixels = NDArray[np.uint8]
_GUESSED = ("avi", "mpeg")
"""Formats that do not store when each frame is shown; where frames are stored in another order, guesses are wrong."""
_LEAD = 10**6
"""Units of time before the first frame, so that a file is read from its start."""


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
        """Frames at each of the ascending `indices`, resized to (H, W) `size`; those that are damaged are left out."""
        ...

    def whole(self, indices: Sequence[int]) -> list[int]:
        """Those of the ascending `indices` whose frames can be had."""
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


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a packet says of its frame; times in units of its track, None where it does not say."""

    shown: int | None
    decoded: int | None
    key: bool

    @classmethod
    def of(cls, packet: "Packet[Track]") -> "_Entry":
        return cls(packet.pts, packet.dts, packet.is_keyframe)

    def is_after(self, other: "_Entry") -> bool:
        """Whether it is stored behind another one of the same file."""
        if self.decoded is not None and other.decoded is not None:
            return self.decoded > other.decoded
        return self.shown is not None and other.shown is not None and self.shown > other.shown


class VideoFile:
    """A video file; decodes from the key frame before a wanted frame, and keeps nothing in memory but the open file."""

    def __init__(self, path: Path) -> None:
        """Find every frame's time without decoding it.

        Raises:
            InputError: the file is missing, is no video, has no frames, none that can be decoded or absurdly many
                pixels, or is to be shown at an oblique angle.
        """
        self._path = path
        self.names: tuple[str, ...] = ()
        self._idle: list[InputContainer] = []
        require_file(path, "video", error=LostFileError)
        with self._opened() as container:
            if not container.streams.video:
                raise InputError(f"{path} has no video track; give a video file or a folder of images")
            track = container.streams.video[0]
            stored = (track.height, track.width)
            check_pixels(path, track.width, track.height)
            self.fps: float | None = float(track.average_rate) if track.average_rate else None
            packets = [_Entry.of(p) for p in container.demux(track) if p.size and not p.is_discard]
            self.length = len(packets)
            if not self.length or 0 in stored:
                raise InputError(f"{path} has no video frames; copy or encode it again")
            times = sorted({packet.shown for packet in packets if packet.shown is not None})
            guessed = container.format.name in _GUESSED and track.codec_context.has_b_frames
            # Without a distinct time for each frame, frames can only be counted from the start.
            self._times = times if len(times) == len(packets) and not guessed else []
            self._index_of = {time: index for index, time in enumerate(self._times)}
            entries = {self._index_of[p.shown]: p for p in packets if p.shown is not None and self._times}
            self._keys = sorted(index for index, entry in entries.items() if entry.key)
            # Decoding can begin at key frames, and at the first frame whatever it is.
            self._starts = {index: entries[index] for index in (0, *self._keys) if entries}
            _, first = next(self._decode_from(container, 0), (0, None))
            if first is None:
                raise InputError(f"{path} has no frame that can be decoded; copy or encode it again")
            self._turn = turn_of_frame(first, str(path))
        self.native_size = self._turn.size(stored)

    def size_of(self, index: int) -> tuple[int, int]:  # noqa: ARG002 - all frames of a video have one size
        """(H, W) of the recording, upright."""
        return self.native_size

    def frames(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[RecordedFrame]:
        """Upright frames at each of the ascending `indices`, area-resized to (H, W) `size`; without damaged ones."""
        height, width = self._turn.size(size)

        def recorded(found: tuple[int, av.VideoFrame]) -> RecordedFrame:
            pixels = found[1].to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
            return RecordedFrame(index=found[0], native_size=self.native_size, pixels=self._turn.apply(pixels))

        with self._opened() as container:
            yield from map(recorded, self._whole(container, indices))  # keeps no frame that the next could overwrite

    def whole(self, indices: Sequence[int]) -> list[int]:
        """Those of the ascending `indices` whose frames no damage has reached."""
        with self._opened() as container:
            return [index for index, _ in self._whole(container, indices)]

    def _whole(self, container: InputContainer, indices: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames of the ascending `indices`, without damaged ones."""
        decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
        position, frame = -1, None
        for index in indices:
            key = self._key_before(index)
            if position < key or frame is None:
                decoded, position = self._decode_from(container, key), -1
            while position < index:
                position, frame = next(decoded, (self.length, None))
            if position == index and frame is not None:
                yield index, frame

    @contextmanager
    def _opened(self) -> Iterator[InputContainer]:
        """The file, open and standing anywhere; opening it takes as long as decoding some frames."""
        try:
            container = self._idle.pop() if self._idle else av.open(str(self._path))
            yield container
            self._idle.append(container)
        except av.FFmpegError as error:
            raise InputError(
                f"{self._path} is not a readable video ({error.strerror}); copy or encode it again"
            ) from error

    def _key_before(self, index: int) -> int:
        """Index of the last key frame at or before `index`; 0 if frames can only be counted."""
        place = bisect_right(self._keys, index)
        return self._keys[place - 1] if place else 0

    def _decode_from(self, container: InputContainer, key: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Whole frames with their indices, from a key frame on as far as the file can be read."""
        track = container.streams.video[0]
        if not self._times:
            with av.open(str(self._path)) as fresh:  # some files cannot even be wound back
                yield from enumerate(fresh.decode(video=0))
            return
        packets = self._packets_from(container, key)
        with suppress(av.FFmpegError):
            for frame in whole_frames(packets, track):
                if (index := self._index_of.get(frame.pts)) is not None:
                    yield index, frame

    def _packets_from(self, container: InputContainer, key: int) -> "Iterator[Packet[Track]]":
        """Packets from a key frame on, or from some way before it.

        A file without an index, such as a transport stream, is searched by the times at which packets are decoded, so
        that it may come to stand behind the one whose time of showing was asked for.
        """
        track = container.streams.video[0]
        packets: Iterator[Packet[Track]] = iter(())
        for time in self._times_before(key):
            container.seek(time, stream=track, backward=True)
            packets = container.demux(track)
            first = next((packet for packet in packets if packet.size), None)
            if first is not None and not _Entry.of(first).is_after(self._starts[key]):
                return chain((first,), packets)
        return packets

    def _times_before(self, key: int) -> Iterator[int]:
        """Times to look for a key frame at: its own two, those of some before it, and one before all."""
        yield self._times[key]
        if (decoded := self._starts[key].decoded) is not None:
            yield decoded
        place = bisect_right(self._keys, key) - 1
        yield from (self._times[self._keys[place - back]] for back in (1, 2, 4, 8) if back <= place)
        yield self._times[0] - _LEAD
