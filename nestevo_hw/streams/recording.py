"""A camera's frames into a video file whose frames can be read by index."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream as Track

from nestevo_hw.base.errors import InputError, OutputError
from nestevo_hw.base.files import replacing
from nestevo_hw.streams.live import LiveFrame
from nestevo_hw.streams.sources import Pixels

CLOCK = Fraction(1, 90_000)
"""Of time stamps in the file, seconds."""
KEY_EVERY = 30
"""Frames; the fewer, the less has to be decoded to reach one of them, and the less is lost with a damaged one."""
QUALITY = {"crf": "20", "preset": "veryfast"}
"""Of H.264; the first is about what cannot be told from the original."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a recording holds."""

    frames: int
    seconds: float
    """From the first frame to the last."""
    size: tuple[int, int]
    """(H, W), pixels."""


def record(
    frames: Iterable[LiveFrame],
    path: Path,
    *,
    seconds: float,
    stopped: Callable[[], bool] = lambda: False,
    on_frame: Callable[[float], None] = lambda _: None,
) -> Recorded:
    """Write frames as H.264 into an .mp4, one at a time, whole or not at all.

    Args:
        frames: as a `LiveSource` yields them; read no further than needed.
        path: of the file.
        seconds: after which no more frames are taken.
        stopped: whether to end now; what has come until then is kept.
        on_frame: told the time of each frame, seconds since the first.

    Raises:
        InputError: as `frames`, or there is none.
        OutputError: the file cannot be written.
    """
    count, last_s, step_s, size = 0, 0.0, 0.0, (0, 0)
    with replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mp4") as container:
                track: Track | None = None
                for time_s, pixels in frames:
                    if time_s >= seconds:
                        break
                    track = track or _track(container, pixels)
                    container.mux(track.encode(_frame(pixels, track, time_s)))
                    step_s = time_s - last_s
                    count, last_s, size = count + 1, time_s, (track.height, track.width)
                    on_frame(time_s)
                    if stopped():
                        break
                if track is None:
                    raise InputError(f"no frame came, so there is no {path}; look at the camera")
                for packet in track.encode(None):
                    packet.duration = round(step_s / CLOCK)  # of the last one, which else is guessed
                    container.mux(packet)
        except av.FFmpegError as error:
            raise OutputError.of(path, error) from error
    return Recorded(frames=count, seconds=last_s, size=size)


def _track(container: OutputContainer, pixels: Pixels) -> Track:
    track = container.add_stream("libx264", options=QUALITY)
    track.height, track.width = (side // 2 * 2 for side in pixels.shape[:2])  # colour has half the resolution
    track.pix_fmt, track.time_base, track.gop_size = "yuv420p", CLOCK, KEY_EVERY
    track.codec_context.time_base = CLOCK
    return track


def _frame(pixels: Pixels, track: Track, time_s: float) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(pixels[: track.height, : track.width].copy(), format="rgb24")
    frame.time_base, frame.pts = CLOCK, round(time_s / CLOCK)
    return frame
