"""Memory of processes and of the machine, as Linux tells it; None elsewhere."""

import ctypes
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.control_groups import ROOT, control_groups

_KIB = 1024
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else _KIB
"""Unit in which the system counts ru_maxrss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineMemory:
    """Memory of the machine, or of the control group (container, batch job, service) whose limit leaves less."""

    total_bytes: int
    available_bytes: int
    """That processes can still take: free, or holding files that can be read again."""


def machine_memory(root: Path = ROOT) -> MachineMemory | None:
    """What is left for this process to use.

    Args:
        root: in which proc and sys lie.
    """
    with suppress(OSError, KeyError):
        found = _fields(root / "proc/meminfo")
        own = MachineMemory(total_bytes=found["MemTotal"] * _KIB, available_bytes=found["MemAvailable"] * _KIB)
        groups = [memory for memory in _control_groups(root) if memory.total_bytes < own.total_bytes]
        return min([own, *groups], key=lambda memory: memory.available_bytes)
    return None


def _control_groups(root: Path) -> Iterator[MachineMemory]:
    """Every limit above this process: of its group and of those around that, by both versions of the interface."""
    for folder, unified in control_groups("memory", root):
        v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        files = ("memory.max", "memory.current", "") if unified else v1
        with suppress(OSError, ValueError, KeyError):  # no such file here, or a limit of "max"
            yield _control_group(folder, *files)


def _control_group(folder: Path, limit: str, used: str, prefix: str) -> MachineMemory:
    total, taken = (int((folder / name).read_text(encoding="ascii")) for name in (limit, used))
    found = _fields(folder / "memory.stat")
    files = found[f"{prefix}inactive_file"] + found[f"{prefix}active_file"]
    return MachineMemory(total_bytes=total, available_bytes=max(total - taken + files, 0))


def unshared_bytes(pid: int | None = None) -> int | None:
    """What a process keeps in memory or swap besides pages of files; None if it is gone.

    In a forked process this begins with all that its parent keeps so, and grows by what it takes itself.

    Args:
        pid: of the process; None for this one.
    """
    with suppress(OSError, KeyError):
        found = _fields(ROOT / f"proc/{pid or 'self'}/status")
        return (found["RssAnon"] + found["RssShmem"] + found["VmSwap"]) * _KIB
    return None


def give_back_freed() -> None:
    """Return to the system what this process has freed and its allocator keeps (glibc; nothing elsewhere).

    A block that is taken from kept memory does not show as taken.
    """
    with suppress(OSError, TypeError, AttributeError):  # no such library, or an allocator of another kind
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak() -> int:
    """Start this process's largest resident set anew, as one that serves many tasks does between them (Linux).

    Returns:
        what it holds while idle, pages of files left out, bytes.
    """
    give_back_freed()
    with suppress(OSError):
        (ROOT / "proc/self/clear_refs").write_text("5", encoding="ascii")
    return unshared_bytes() or 0


def peak_bytes(*, shared: int) -> int:
    """Most memory that this process has had at a time, bytes, less `shared` and less the pages of files it has now."""
    try:
        found = _fields(ROOT / "proc/self/status")
        largest, files = found["VmHWM"] * _KIB, found["RssFile"] * _KIB
    except (OSError, KeyError):
        largest, files = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES, 0
    return max(largest - shared - files, 0)


def file_bytes() -> int:
    """Pages of files that this process has in memory: code above all, which it shares; 0 where not told."""
    with suppress(OSError, KeyError):
        return _fields(ROOT / "proc/self/status")["RssFile"] * _KIB
    return 0


def inherited_bytes() -> int:
    """Memory of this process, files left out, that it has had from its parent and not written to; 0 where not told.

    The kernel walks all its pages for this, which takes tens of milliseconds.
    """
    with suppress(OSError, KeyError):
        found = _fields(ROOT / "proc/self/smaps_rollup")
        return max(found["Anonymous"] - found["Private_Dirty"], 0) * _KIB
    return 0


def _fields(path: Path) -> dict[str, int]:
    """Numbers by the words in front of them, one a line."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return {name: int(number) for name, number in re.findall(r"^(\w+):?\s+(\d+)", text, re.MULTILINE)}
