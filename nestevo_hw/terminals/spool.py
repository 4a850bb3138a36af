"""Frames that wait on the terminal's disk until the server has them: few, and none twice."""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.files import replacing

_NAME = re.compile(r"([0-9]{17})-([0-9a-f]{16})\.jpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A frame that waits."""

    id: str
    """Names it for ever: when it was taken, and what is in it."""
    path: Path
    taken_s: float
    """Seconds since 1970."""
    bytes: int


class Spool:
    """The waiting frames, oldest first; what is in the folder is all that it knows, so a kill loses nothing.

    Args:
        folder: of the files.
        most: frames; the oldest make room.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self.dropped = 0
        """Frames that had to make room."""

    def put(self, picture: bytes, taken_s: float) -> None:
        """Keep a frame until it is sent."""
        taken_us, digest = round(taken_s * 1e6), hashlib.sha256(picture).hexdigest()[:16]
        there = self.waiting()
        if there and taken_us <= (last_us := round(there[-1].taken_s * 1e6)):
            if any(frame.id == f"{taken_us:017d}-{digest}" for frame in there):
                return
            taken_us = last_us + 1  # the clock was put back, which makes no frame older than those before it
        with replacing(self._folder / f"{taken_us:017d}-{digest}.jpg") as temporary:
            temporary.write_bytes(picture)
        for old in there[: max(0, len(there) + 1 - self._most)]:
            old.path.unlink(missing_ok=True)
            self.dropped += 1

    def waiting(self) -> list[Spooled]:
        """What is there, oldest first."""
        found = list[Spooled]()
        for path in sorted(self._folder.glob("*.jpg")):
            if (match := _NAME.fullmatch(path.name)) is not None:
                with suppress(FileNotFoundError):  # it has just made room for another
                    size = path.stat().st_size
                    found.append(Spooled(id=path.stem, path=path, taken_s=int(match[1]) / 1e6, bytes=size))
        return found

    def drop_until(self, frame: Spooled) -> None:
        """Neither this one nor any before it is needed any more."""
        for old in self.waiting():
            if old.id <= frame.id:
                old.path.unlink(missing_ok=True)
