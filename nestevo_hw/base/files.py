"""Files in and out: written whole or not at all, and what prevents it said in one line."""

import os
import platform
import re
import stat
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from safetensors import SafetensorError

from nestevo_hw.base.errors import InputError, MissingFileError, NestEvoError, OutputError


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
"""This machine in names of temporary files: several may write into one folder."""
_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})\.(\d{1,9})(?:\.\d{1,9})?\.tmp", re.DOTALL)
MOST_TEXT_BYTES = 512_000_000
"""Of a text to read: the labels of a hundred thousand frames have half of it."""


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; rename it on success, remove it on failure.

    Folders that are missing are made, and those that stay empty go again.

    Args:
        path: to write.
        mode: permissions; None: as of any new file.

    Raises:
        OutputError: the file cannot be written; what stood in its place is as before.
    """
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.{threading.get_native_id()}.tmp")
    _sweep_once(path.parent)
    made = missing_folders(path.parent)
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.chmod(0o666 & ~_UMASK if mode is None else mode)  # safetensors writes for the owner alone
            temporary.replace(path)
        finally:
            with suppress(OSError):  # its folder may be what is missing
                temporary.unlink(missing_ok=True)
            remove_empty(made)
    except (OSError, SafetensorError) as error:
        raise OutputError.of(path, error) from error


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those around it that do not exist, the deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that were made in vain, the deepest first."""
    with suppress(OSError):  # one that holds something stays, and so do those around it
        for path in folders:
            path.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed writers below a folder that has no other writer now."""
    _remove_dead(folder.rglob(".*.tmp"), everywhere=True)


def is_temporary(path: Path) -> bool:
    """Whether a file is what a writer has not finished, or will not, by its name."""
    return _TEMPORARY.fullmatch(path.name) is not None


@cache
def _sweep_once(folder: Path) -> None:
    """The same in one folder, before this process first writes into it; writers on other machines may be alive."""
    _remove_dead(folder.glob(".*.tmp"), everywhere=False)


def _remove_dead(found: Iterable[Path], *, everywhere: bool) -> None:
    with suppress(OSError):  # what cannot be looked at or removed is in nobody's way
        for path in list(found):
            match = _TEMPORARY.fullmatch(path.name)
            if match and (_is_dead(int(match[2])) if match[1] == _HOST else everywhere):
                path.unlink(missing_ok=True)


def _is_dead(pid: int) -> bool:
    """Whether no process of this machine has the number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_secret(path: Path, text: str) -> None:
    """The same for the owner's eyes alone, at no moment for others'."""
    mask = os.umask(0o077)
    try:
        with replacing(path, mode=0o600) as temporary:
            temporary.write_text(text, encoding="utf-8")
    finally:
        os.umask(mask)


def read_text(path: Path, *, advice: str = "", error: type[NestEvoError] = InputError) -> str:
    """The UTF-8 text of a file.

    Args:
        path: of the file.
        advice: what to do about a bad file, appended to the message.
        error: class to raise.

    Raises:
        MissingFileError: the file is missing; `error` itself if that is another one than InputError.
        NestEvoError: `error`, in one line: the file is no ordinary file, unreadable, too long or not UTF-8.
    """
    try:
        _check_ordinary(path, error)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        missing = MissingFileError if error is InputError else error
        raise missing(f"no file {path}; {advice or 'check the path'}") from None
    except UnicodeDecodeError as problem:
        text = f"{path} is not UTF-8 text: {problem.reason} at byte {problem.start}"
        raise error(f"{text}; {advice}" if advice else text) from problem
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}; {advice or 'check the path'}") from problem


def require_file(
    path: Path, what: str = "file", *, advice: str = "check the path", error: type[MissingFileError] = MissingFileError
) -> None:
    """Refuse a file that is not there, by its name.

    Args:
        path: of the file.
        what: kind of file, as the message calls it.
        advice: what to do.
        error: class to raise.

    Raises:
        MissingFileError: `error`: it is not there, or is no file.
    """
    if not path.is_file():
        raise error(f"no {what} {path}; {advice}")


def _check_ordinary(path: Path, error: type[NestEvoError]) -> None:
    """Whether reading a file comes to an end: a pipe may never answer, and a device never stop."""
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise error(f"{path} is a pipe or device, not a file; copy what it gives into a file")
    if found.st_size > MOST_TEXT_BYTES:
        raise error(f"{path} has {found.st_size / 1e6:.0f} MB, the most is {MOST_TEXT_BYTES / 1e6:.0f}; split it")
