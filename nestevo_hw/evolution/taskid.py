"""What names a task of a run."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskId:
    """A task by when, what and for whom; its random numbers are drawn from the seed and `str()` of this."""

    window: int | None
    """Number of the evolution window; None before the first."""
    kind: str
    """Kind of its step."""
    subject: str = ""
    """Terminal or group that it serves; "" for a group without a name."""

    def __str__(self) -> str:
        return "/".join(self._parts)

    @property
    def file_name(self) -> str:
        """Of its result."""
        return f"{'.'.join(self._parts)}.json"

    @property
    def _parts(self) -> list[str]:
        when = "setup" if self.window is None else f"w{self.window}"
        return [when, self.kind, *([self.subject] if self.subject else [])]


def window_of(file_name: str) -> int | None:
    """Window of the task whose result has this file's name; None before the first, and of other files."""
    match = re.match(r"w(\d+)\.", file_name)
    return int(match[1]) if match else None
