"""Packets of a video into whole frames; those that damage has reached are left out and counted."""

import struct
from collections.abc import Callable, Iterable, Iterator

import av
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream as Track

from nestevo_hw.streams.turning import Turn, turn_of_matrix

HEALED = 300
"""Frames after which damage counts as painted over: streams with intra refresh have no key frames that would say so."""


def whole_frames(
    packets: "Iterable[Packet[Track]]", track: Track, on_damage: Callable[[], None] = lambda: None
) -> Iterator[av.VideoFrame]:
    """Frames of a track in the order in which they are shown.

    What follows a damaged frame is drawn on top of it, so it is left out up to the next key frame.

    Args:
        packets: of the track, in the order in which they are stored.
        track: of a container that is open.
        on_damage: told of each frame that is left out.

    Raises:
        av.FFmpegError: the container cannot be read on; what frames hold raises nothing.
    """
    if not track.codec_context.is_open:
        track.thread_type = "NONE"  # threads of slices lose the errors
    doubtful = 0
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            on_damage()
            doubtful = HEALED
            continue
        for frame in frames:
            if frame.is_corrupt:
                doubtful = HEALED
            elif frame.key_frame:
                doubtful = 0
            if doubtful:
                doubtful -= 1
                on_damage()
            else:
                yield frame


def turn_of_frame(frame: av.VideoFrame, source: str) -> Turn:
    """What the display matrix says, which decoders hand on with each frame.

    Raises:
        InputError: it is to be shown at an oblique angle.
    """
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    return Turn() if data is None else turn_of_matrix(struct.unpack("=9i", bytes(data)), source)
