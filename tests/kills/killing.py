"""Kills a piece of work before its n-th change of the file system, in a forked child: the same moment every time."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Work = Callable[[Path], None]


def changes_of(work: Work, folder: Path) -> int:
    """Do the work to its end; how often it changed something below the folder."""
    status, changes = _forked(work, folder, None)
    if status != 0:
        raise RuntimeError(f"the work ended with {status}")
    return changes


def killed(work: Work, folder: Path, before: int) -> bool:
    """Do the work, and kill it before this change; False if it ended before."""
    status, _ = _forked(work, folder, before)
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the work ended with {status}")
    return status != 0


def _forked(work: Work, folder: Path, before: int | None) -> tuple[int, int]:
    """Exit status of a child that does the work, and the changes that it made."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_child(work, folder, before, writer)
    os.close(writer)
    with os.fdopen(reader) as told:
        changes = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(changes or 0)


def _be_child(work: Work, folder: Path, before: int | None, writer: int) -> None:
    status, made, below = 70, 0, str(folder)

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal made
        change = event in _CHANGES or (event == "open" and _writes(arguments))
        if change and isinstance(arguments[0], (str, Path)) and str(arguments[0]).startswith(below):
            made += 1
            if made == before:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(look)
        work(folder)
        os.write(writer, str(made).encode())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _writes(arguments: tuple[object, ...]) -> bool:
    return isinstance(arguments[2], int) and bool(arguments[2] & _WRITING)
