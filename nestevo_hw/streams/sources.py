"""Frames of video files and image folders by index, at a given size."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nestevo_hw.base.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
Pixels = NDArray[np.uint8]


class FrameSource(Protocol):
    """Recorded frames, readable by index."""

    length: int
    fps: float | None
    """None where the recording does not say."""
    native_size: tuple[int, int]
    """(H, W) of the recording."""
    names: tuple[str, ...]
    """File name of each frame, empty where frames have none."""

    def frames(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, Pixels]]:
        """Index and (H, W, 3) RGB pixels of each of the ascending `indices`."""
        ...


class VideoFile:
    """A video file; decodes from the key frame before a wanted frame, keeps nothing in memory."""

    def __init__(self, path: Path) -> None:
        """Find every frame's time without decoding it.

        Raises:
            InputError: the file is missing, is no video, or has no frames.
        """
        self._path = path
        self.names: tuple[str, ...] = ()
        if not path.is_file():
            raise InputError(f"no video {path}; check the path")
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise InputError(f"{path} has no video track; give a video file or a folder of images")
                track = container.streams.video[0]
                self.native_size = (track.height, track.width)
                self.fps: float | None = float(track.average_rate) if track.average_rate else None
                packets = [(p.pts, p.is_keyframe) for p in container.demux(track) if p.size and not p.is_discard]
        except av.FFmpegError as error:
            raise InputError(f"{path} is not a readable video ({error.strerror}); copy or encode it again") from error
        times = [pts for pts, _ in packets if pts is not None]
        self.length = len(packets)
        if not self.length or 0 in self.native_size:
            raise InputError(f"{path} has no video frames; copy or encode it again")
        # Without a distinct time for each frame, frames can only be counted from the start.
        self._times = sorted(times) if len(set(times)) == len(packets) else []
        self._keys = {pts for pts, key in packets if key}

    def frames(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, Pixels]]:
        """Index and (H, W, 3) RGB pixels of each of the ascending `indices`, area-resized.

        Raises:
            InputError: a frame cannot be decoded.
        """
        height, width = size
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
                    yield index, pixels
        except av.FFmpegError as error:
            raise InputError(
                f"{self._path}: frame {index} is damaged ({error.strerror}); encode the video again"
            ) from error

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


class ImageFolder:
    """Image files of one folder in the order of their names; all get the size of the first."""

    def __init__(self, path: Path) -> None:
        """List the images.

        Raises:
            InputError: the folder has no images, or the first is unreadable.
        """
        self._paths = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not self._paths:
            raise InputError(f"folder {path} has no images ({', '.join(SUFFIXES)})")
        self.names = tuple(p.name for p in self._paths)
        self.length = len(self._paths)
        self.fps: float | None = None
        width, height = _open_image(self._paths[0]).size
        self.native_size = (height, width)

    def frames(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, Pixels]]:
        """Index and (H, W, 3) RGB pixels of each of the `indices`.

        Raises:
            InputError: an image is unreadable.
        """
        height, width = size
        for index in indices:
            image = _open_image(self._paths[index])
            yield index, np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _open_image(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path} is not a readable image; remove or replace it") from error
