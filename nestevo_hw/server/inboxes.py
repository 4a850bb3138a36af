"""Frames on their way in: written to a file while they arrive, looked at, and kept under the terminal's own name."""

import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.base.files import remove_leftovers
from nestevo_hw.server.config import ServeConfig
from nestevo_hw.server.store import Frame, Store
from nestevo_hw.streams.images import check_sent

_PART = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FullDiskError(NestEvoError):
    """There is no room for a frame."""


class DamagedError(NestEvoError):
    """A frame did not arrive as it was sent."""


class ConflictError(NestEvoError):
    """Another frame was received under the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a terminal says of a frame that it sends."""

    id: str
    sha256: str
    taken_s: float


class Inboxes:
    """The waiting frames of all terminals, as files.

    Args:
        folder: with a folder for each terminal.
        store: knows which are there.
        config: how large.
        most: frames of one terminal; the oldest make room.
    """

    def __init__(self, folder: Path, store: Store, config: ServeConfig, most: int) -> None:
        self._folder, self._store, self._config, self._most = folder, store, config, most
        folder.mkdir(parents=True, exist_ok=True)

    def repair(self, names: list[str]) -> None:
        """Put files and store in agreement again after a kill: a frame is there with both, or not at all."""
        remove_leftovers(self._folder)
        for name in names:
            for part in self.folder(name).glob(f".*{_PART}"):
                part.unlink(missing_ok=True)
            self.clear(name)
            lost = [f for f in self._store.waiting(name) if not (self.folder(name) / f.file).is_file()]
            self._store.lost(name, lost)

    def clear(self, name: str) -> None:
        """Remove files of frames that wait no longer."""
        with self._store.changed:  # no frame comes between the list and the look
            waiting = {f.file for f in self._store.waiting(name)}
            for path in self.folder(name).glob("[!.]*"):
                if path.name not in waiting:
                    path.unlink(missing_ok=True)

    def folder(self, name: str) -> Path:
        """Of a terminal's waiting frames."""
        return self._folder / name

    def last_frames(self, names: Sequence[str]) -> dict[str, Path]:
        """The newest waiting frame of each terminal that has one."""
        waiting = {name: self._store.waiting(name) for name in names}
        return {name: self.folder(name) / frames[-1].file for name, frames in waiting.items() if frames}

    async def receive(self, name: str, sent: Sent, chunks: AsyncIterator[bytes]) -> bool:
        """Keep a frame; False where it is here already.

        Args:
            name: of the terminal.
            sent: what it says of the frame.
            chunks: of the file, bounded by the caller.

        Raises:
            ConflictError: another frame has this name.
            InputError: it is not what its digest says, or no image that may be sent.
            FullDiskError: there is no room.
        """
        if (known := await run_in_threadpool(self._store.digest_of, name, sent.id)) is not None:
            async for _ in chunks:  # who is still sending would not hear the answer
                pass
            return self._same(known, sent)
        await run_in_threadpool(self._require_room)
        temporary = self.folder(name) / f".{sent.id}.{os.urandom(6).hex()}{_PART}"
        try:
            size, digest = await _written(temporary, chunks)
            if digest != sent.sha256:
                raise DamagedError("the frame is not what its digest says; send it again")
            return await run_in_threadpool(self._keep, name, sent, temporary, size)
        except OSError as error:
            if error.errno in _FULL:
                raise FullDiskError("no room on the server's disk; come again later") from error
            raise
        finally:
            temporary.unlink(missing_ok=True)

    def _keep(self, name: str, sent: Sent, temporary: Path, size: int) -> bool:
        ending = check_sent(temporary, round(self._config.frame_megapixels * 1e6))
        file = f"{sent.id}{ending}"
        with self._store.changed:  # one after another, so that two of a name do not mix
            if (known := self._store.digest_of(name, sent.id)) is not None:
                return self._same(known, sent)
            temporary.replace(self.folder(name) / file)
            frame = Frame(seq=0, id=sent.id, sha256=sent.sha256, file=file, bytes=size, taken_s=sent.taken_s)
            gone = self._store.received(name, frame, most=self._most, most_bytes=round(self._config.inbox_mb * 1e6))
        for old in gone:
            (self.folder(name) / old).unlink(missing_ok=True)
        return True

    def _same(self, known: str, sent: Sent) -> bool:
        if known != sent.sha256:
            raise ConflictError(f"another frame was received as {sent.id!r}; give this one another name")
        return False

    def _require_room(self) -> None:
        if shutil.disk_usage(self._folder).free < self._config.keep_free_mb * 1e6:
            raise FullDiskError("no room on the server's disk; come again later")


async def _written(path: Path, chunks: AsyncIterator[bytes]) -> tuple[int, str]:
    """Size and SHA-256 of what has arrived in a file."""
    digest, size = hashlib.sha256(), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        async for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            await run_in_threadpool(file.write, chunk)
    return size, digest.hexdigest()
