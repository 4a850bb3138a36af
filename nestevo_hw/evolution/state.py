"""Which teacher is in force, and how old its tiles are."""

from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.evolution.teacher import TeacherFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherState:
    """A teacher on the crossbar: its digital weights, its tiles, and when they were programmed."""

    weights: Path
    crossbar: Path
    programmed_s: float
    """Clock time, seconds since the first window started; negative before it."""
    generation: int
    """Counts the programmings of a run; each draws its own noise."""
    adapters: Path | None = None
    """Beside it for the scenes of a window; None: it is as it was programmed."""

    @property
    def files(self) -> set[Path]:
        """All that it is read from."""
        return {path for path in (self.weights, self.crossbar, self.adapters) if path is not None}

    def at(self, now_s: float) -> TeacherFiles:
        """This teacher at clock time `now_s`: it has aged since its programming."""
        return TeacherFiles(
            weights=self.weights, crossbar=self.crossbar, age_s=now_s - self.programmed_s, adapters=self.adapters
        )
