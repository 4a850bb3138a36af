"""Control groups that limit this process (a container's, a batch job's, a service's), as Linux tells them."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def control_groups(controller: str, root: Path = ROOT) -> Iterator[tuple[Path, bool]]:
    """Folders of the group of this process and of all around that, whose limits hold for it.

    Args:
        controller: "memory" or "cpu".
        root: in which proc and sys lie.

    Yields:
        a folder, and whether its files are those of the unified interface, version 2.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        unified = controllers == ""
        if not unified and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("" if unified else controller)
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            yield folder, unified
