"""Frames of a camera while it sends them: RTSP, HTTP and other streams, webcams, and files as if they were cameras."""

import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from nestevo_hw.base.errors import ConfigError, InputError, MissingFileError
from nestevo_hw.base.ranges import Range
from nestevo_hw.streams.decoding import turn_of_frame, whole_frames
from nestevo_hw.streams.sources import Pixels, check_pixels

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "srt", "udp")
FPS = Range(0.001, 1000)
WAIT_S = Range(0.1, 86_400)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
"""Between two tries to connect again; each is twice as long as the one before."""
_DEVICE = re.compile(r"/dev/video\d+")
_EARLY = 1e-6
"""Of a frame by which it may come before its time: rounding."""


class LiveFrame(NamedTuple):
    """One frame as it came."""

    time_s: float
    """Since the first frame, by the stream's own clock; a lost connection's gap by this machine's."""
    pixels: Pixels
    """(H, W, 3) RGB, upright; all frames have the size of the first."""


class LiveSource:
    """A camera's frames, one at a time; nothing is kept, so it may send for ever.

    A lost connection is made again, a damaged frame left out; both are counted. Iterating yields `LiveFrame`. A source
    with an end, such as a file, is read once up to it.
    """

    def __init__(
        self,
        address: str,
        *,
        fps: float | None = None,
        timeout_s: float = 10.0,
        patience_s: float = 60.0,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Say what to read; nothing is opened yet.

        Args:
            address: `rtsp://..`, `http://..`, `/dev/video0`, or the path of a file.
            fps: most frames a second; those between are left out. None: all.
            timeout_s: after which one that does not answer counts as lost, seconds.
            patience_s: for which a lost one is tried again, seconds.
            pause: waits so many seconds.
            clock: seconds that only go forward.

        Raises:
            ConfigError: an address of no kind that is known, or a number out of its range.
            InputError: no such file or device.
        """
        for what, value, allowed in (
            ("fps", fps, FPS),
            ("timeout", timeout_s, WAIT_S),
            ("patience", patience_s, WAIT_S),
        ):
            if value is not None:
                allowed.require(value, what)
        scheme = _scheme(address)
        self._file = Path(address).absolute() if Path(address).is_file() else None
        if self._file is None and scheme and scheme not in SCHEMES:
            raise ConfigError(
                f"{_without_password(address)}: unknown scheme {scheme}; use one of {', '.join(SCHEMES)}, "
                "/dev/video0, or the path of a file"
            )
        if self._file is None and not scheme and not Path(address).is_char_device():
            raise MissingFileError(f"no file or camera {address}; check the path")
        self._address = address
        self.shown = _without_password(address)
        """The address as it may be printed."""
        self.reconnections = 0
        self.damaged = 0
        """Frames left out because damage had reached them."""
        self.rate: float | None = None
        """Frames a second that the source says it sends, once it is open; None where it does not."""
        self._fps, self._timeout_s, self._patience_s = fps, timeout_s, patience_s
        self._pause, self._clock = pause, clock
        self._size: tuple[int, int] | None = None
        self._last_s = -math.inf
        self._came_s = 0.0

    def __iter__(self) -> Iterator[LiveFrame]:
        """Frames from now on.

        Raises:
            InputError: it cannot be opened, shows no video or absurdly large frames, or does not come back in time.
        """
        due = 0
        for frame, time_s in self._timed():
            if self._fps is not None:
                if time_s * self._fps + _EARLY < due:
                    continue
                due = math.floor(time_s * self._fps + _EARLY) + 1
            yield LiveFrame(time_s, self._pixels(frame))

    def _timed(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """All whole frames of all connections with their times."""
        first, pause_s = True, _FIRST_PAUSE_S
        while True:
            has_end = False
            try:
                with self._opened() as container:
                    has_end = bool(container.size)  # streams have none
                    for frame, time_s in self._of_connection(container, has_end=has_end):
                        first, pause_s = False, _FIRST_PAUSE_S
                        yield frame, time_s
                if has_end:
                    break
            except (av.FFmpegError, OSError) as error:
                if first or self._file is not None:
                    raise InputError(f"cannot read {self.shown}: {_reason(error)}; check the address") from error
            if first:
                break
            if self._clock() - self._came_s + pause_s > self._patience_s:
                raise InputError(
                    f"{self.shown} was lost and did not come back within {self._patience_s:g} s; look at the camera"
                )
            self._pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self.reconnections += 1
        if first:
            raise InputError(f"{self.shown} sent no whole frame; check that it is video")

    def _opened(self) -> InputContainer:
        options, form = dict[str, str](), None
        if _DEVICE.fullmatch(self._address):
            form = "v4l2"
        elif self._address.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # over UDP frames get lost on a busy network
        waits = (self._timeout_s, self._timeout_s)  # to open it, and for each packet
        found: InputContainer = av.open(str(self._file or self._address), format=form, options=options, timeout=waits)
        return found

    def _of_connection(self, container: InputContainer, *, has_end: bool) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames of one connection; of a source with an end those that have not come yet."""
        if not container.streams.video:
            raise InputError(f"{self.shown} has no video track; give the address of a video")
        track = container.streams.video[0]
        check_pixels(Path(self.shown), track.width, track.height)
        self.rate = float(track.average_rate) if track.average_rate else self.rate
        step_s = 1 / (self.rate or 25.0)
        offset: float | None = None
        for frame in whole_frames(container.demux(track), track, self._count_damage):
            stamp = self._clock() if frame.time is None else frame.time
            if offset is None:
                offset = -stamp if has_end else self._now(step_s) - stamp
            time_s = stamp + offset
            if time_s <= self._last_s:
                if has_end:
                    continue
                offset += self._last_s + step_s - time_s  # its clock was put back
                time_s = stamp + offset
            self._last_s, self._came_s = time_s, self._clock()
            yield frame, time_s

    def _now(self, step_s: float) -> float:
        """Time of a connection's first frame: 0 of the first one, later what has passed since the last frame."""
        if math.isinf(self._last_s):
            return 0.0
        return self._last_s + max(step_s, self._clock() - self._came_s)

    def _pixels(self, frame: av.VideoFrame) -> Pixels:
        turn = turn_of_frame(frame, self.shown)
        check_pixels(Path(self.shown), frame.width, frame.height)
        self._size = self._size or turn.size((frame.height, frame.width))
        height, width = turn.size(self._size)
        return turn.apply(frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA"))

    def _count_damage(self) -> None:
        self.damaged += 1


def _scheme(address: str) -> str:
    try:
        return urlsplit(address).scheme
    except ValueError as error:
        raise ConfigError(f"{_without_password(address)} is no address: {error}; correct it") from error


def _without_password(address: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", address)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
