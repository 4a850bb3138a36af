"""Cores of the machine that this process may use."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nestevo_hw.base.control_groups import ROOT, control_groups


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process can keep busy: the machine's, those it is bound to, or the quota of its container.

    Args:
        root: in which proc and sys lie.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min([bound, *_quotas(root)]), 1)


def _quotas(root: Path) -> Iterator[int]:
    """Of every control group above this process that has one, part of a core counting as one."""
    for folder, unified in control_groups("cpu", root):
        with suppress(OSError, ValueError):  # no such file here, or a quota of "max"
            if unified:
                quota, period = map(int, (folder / "cpu.max").read_text(encoding="ascii").split())
            else:
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                quota, period = (int((folder / name).read_text(encoding="ascii")) for name in names)
            if quota > 0:  # -1: none
                yield math.ceil(quota / period)
