"""Which teacher is in force, and how old its tiles are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTLE_S = 60.0
"""Time from programming a new teacher to its first read, seconds."""


@dataclass(frozen=True, slots=True)
class TeacherState:
    """The teacher in force: its digital weights, its tiles, and when they were programmed."""

    weights: Path
    crossbar: Path
    programmed_s: float
    """Stream time, seconds; negative before the first window."""
    generation: int
    """Counts the teachers programmed in this run."""

    def at(self, now_s: float) -> dict[str, Any]:
        """Payload entries of this teacher at stream time `now_s`."""
        age_s = max(now_s - self.programmed_s, SETTLE_S)
        return {"weights": str(self.weights), "crossbar": str(self.crossbar), "age_s": age_s}
