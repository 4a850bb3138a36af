"""Runs a command in a forked child with limits on time and memory, and says what it left behind."""

import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from nestevo_hw.base.locking import LOCK

MOST_S = 5.0
MOST_BYTES = 1_000_000_000
"""That a child may take beyond what it shares with the test process; half as much again ends it at once."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a child ended."""

    status: int
    """Exit status; minus the signal's number if a signal killed it."""
    out: str
    error: str
    took_s: float
    """But for what it waited for a core that others had."""
    grown_bytes: int
    left: frozenset[str]
    """Paths that the child made in its folder."""


def import_everything() -> None:
    """Once, so that no child pays for it."""
    import nestevo_hw.cli
    import nestevo_hw.commands.chip_table
    import nestevo_hw.crossbar.chips.estimates
    import nestevo_hw.evolution.pretrain
    import nestevo_hw.evolution.run
    import nestevo_hw.models.zoo
    import nestevo_hw.scheduler.comparison
    import nestevo_hw.studies.compare.study
    import nestevo_hw.studies.noise.comparison_page
    import nestevo_hw.studies.noise.output
    import nestevo_hw.studies.noise.request
    import nestevo_hw.studies.profile.output
    import nestevo_hw.studies.sensitivity.output  # noqa: F401


def run_forked(work: Callable[[], None], folder: Path, *, most_s: float = MOST_S) -> Ending:
    """Call `work` in a child whose current directory is `folder`.

    It is killed where it takes too long or too much, and as soon as it makes a file: it should have refused by then.

    Args:
        work: may print, raise and exit.
        folder: what the child makes in it is told.
        most_s: seconds.
    """
    before, streams = _tree(folder), [folder.with_name(f"{folder.name}.{name}") for name in ("out", "error")]
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_child(work, folder, streams)
    shared, peak, status, took_s, waited_s = _resident(pid), 0, None, 0.0, 0.0
    while status is None:
        peak, waited_s = max(peak, _resident(pid)), max(waited_s, _waited_s(pid))
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(code)
            continue
        took_s = time.monotonic() - started - waited_s
        if took_s > most_s or peak - shared > 1.5 * MOST_BYTES or _tree(folder) - before:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.005)
    with suppress(ProcessLookupError):  # whatever it started ends with it
        os.killpg(pid, signal.SIGKILL)
    out, error = (path.read_text(encoding="utf-8", errors="replace") for path in streams)
    return Ending(
        status=status, out=out, error=error, took_s=took_s, grown_bytes=max(peak - shared, 0),
        left=frozenset(_tree(folder) - before),
    )  # fmt: skip


def _be_child(work: Callable[[], None], folder: Path, streams: list[Path]) -> NoReturn:
    status = 70
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        for number, path in enumerate(streams, start=1):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * _PAGE
        resource.setrlimit(resource.RLIMIT_AS, (mapped + 3 * MOST_BYTES, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, resource.RLIM_INFINITY))
        work()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _waited_s(pid: int) -> float:
    """How long a process was ready to compute and had no core, seconds."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _tree(folder: Path) -> set[str]:
    """All paths below a folder but locks, which stay on purpose."""
    found = set()
    for root, folders, files in os.walk(folder):
        found |= {str(Path(root, name).relative_to(folder)) for name in (*folders, *files) if name != LOCK}
    return found
