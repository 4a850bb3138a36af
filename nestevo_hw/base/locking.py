"""One writer for a folder: a lock that the kernel holds for a process, and lets go with it."""

import errno
import fcntl
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import ConfigError, InputError, OutputError
from nestevo_hw.base.files import is_temporary, missing_folders, remove_empty, remove_leftovers

LOCK = ".lock"
"""Name of the file in a folder that is being written; it goes with its writer, or with the next one."""
_LONGEST = 200
"""Characters of a command in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Who holds a lock, for those who want it."""

    pid: int
    host: str
    command: str
    since: str


@contextmanager
def one_writer(folder: Path, *, resume: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone while a block writes into it; a folder that stays empty goes again.

    What a killed writer left half written in the folder is removed first.

    Args:
        folder: made if it does not exist.
        resume: whether the block goes on with what is there, so that the folder has to exist.

    Raises:
        ConfigError: another process, or another place in this one, holds it, or it does not exist to go on in.
        OutputError: it cannot be made or locked.
    """
    if resume:
        require_folder(folder)
    made = missing_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, killed = _locked(folder)
    except OSError as error:
        remove_empty(made)
        raise OutputError.of(folder, error) from error
    try:
        if killed:
            remove_leftovers(folder)
        yield
    finally:
        # Removed while it is still held: whoever waits with this file open sees that it is no longer the folder's.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(descriptor)
        remove_empty(made)


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Change something small in a folder, after all who are at that; who holds it by `one_writer` does not matter.

    Args:
        folder: made if it does not exist; it goes again if it stays empty.

    Raises:
        OutputError: it cannot be made.
    """
    made = missing_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        remove_empty(made)
        raise OutputError.of(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
        remove_empty(made)


def require_folder(folder: Path) -> None:
    """Refuse to go on where there is nothing.

    Raises:
        ConfigError: the folder does not exist.
    """
    if not folder.exists():
        raise ConfigError(f"no folder {folder} to go on in; leave --resume out, or correct the path")


def is_written(folder: Path) -> bool:
    """Whether a process writes into a folder at this moment."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_unused(folder: Path) -> bool:
    """Whether a folder does not exist, or holds nothing beside its writer's lock and what is not yet written."""
    return not folder.exists() or all(path.name == LOCK or is_temporary(path) for path in folder.iterdir())


def require_unused_or_started(folder: Path, *, resume: bool, started: bool, holds: str) -> None:
    """Refuse to write over what a folder holds, or to go on with what it does not hold.

    Args:
        folder: to write into.
        resume: whether to go on.
        started: whether it holds the beginnings of such work.
        holds: what the work is called.

    Raises:
        ConfigError: in one line, with what to do.
    """
    if not resume and not is_unused(folder):
        raise ConfigError(f"{folder} is not empty; choose another --out, or go on in it with --resume")
    if resume and not started:
        raise ConfigError(f"{folder} holds no {holds} to resume; leave --resume out")


def _locked(folder: Path) -> tuple[int, bool]:
    """The descriptor of the folder's lock file, held, and whether its last holder was killed.

    Processes that this one starts do not inherit it, so they cannot keep the lock.
    """
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                killed = os.fstat(descriptor).st_size > 0
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json_line(plain(_myself())).encode())
                return descriptor, killed
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                who = _holder(path)
                raise ConfigError(f"{folder} is in use: {who}; wait for it, or choose another folder") from None
            raise
        os.close(descriptor)  # its last holder has just removed it


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _myself() -> _Writer:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    short = command if len(command) <= _LONGEST else f"{command[:_LONGEST]}..."
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return _Writer(pid=os.getpid(), host=platform.node(), command=short, since=since)


def _holder(path: Path) -> str:
    try:
        writer = parse_json(path.read_text(encoding="utf-8"), _Writer, str(path))
    except (OSError, ValueError, InputError):
        return "another process writes into it"  # it has just begun, or just ended
    return f"process {writer.pid} on {writer.host} ({writer.command}) writes into it since {writer.since}"
