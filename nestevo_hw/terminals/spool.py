"""Frames that wait on the terminal's disk until the server has them: few, and none twice."""

import hashlib
import re
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
        name = f"{round(taken_s * 1e6):017d}-{hashlib.sha256(picture).hexdigest()[:16]}.jpg"
        with replacing(self._folder / name) as temporary:
            temporary.write_bytes(picture)
        for old in self.waiting()[: -self._most]:
            self.drop(old)
            self.dropped += 1

    def waiting(self) -> list[Spooled]:
        """What is there, oldest first."""
        found = [(path, _NAME.fullmatch(path.name)) for path in sorted(self._folder.glob("*.jpg"))]
        return [Spooled(id=p.stem, path=p, taken_s=int(m[1]) / 1e6) for p, m in found if m is not None]

    def drop(self, frame: Spooled) -> None:
        """The server has it, or it had to make room."""
        frame.path.unlink(missing_ok=True)
