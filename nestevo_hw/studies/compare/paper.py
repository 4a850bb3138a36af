"""Figures the paper reports (Table 4), to stand beside ours: its videos, its models, one run, no intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

METRIC = "mAP@0.50"
"""What the paper's figures are; those of another metric do not compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One row of Table 4, mAP@0.50."""

    terminals: tuple[float, float, float]
    """Terminals A, B and C after evolving."""
    gain: float | None
    """Mean gain over A3 as printed, relative."""
    teacher: tuple[float, float] | None = None
    """Before and after."""

    @property
    def mean(self) -> float:
        """Mean of the three terminals."""
        return fmean(self.terminals)

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        teacher = None if self.teacher is None else list(self.teacher)
        return {"terminals": list(self.terminals), "mean": self.mean, "gain": self.gain, "teacher": teacher}


TABLE_4: Mapping[str, PaperRow] = {
    "NestEvo": PaperRow(terminals=(0.571, 0.543, 0.584), gain=0.426, teacher=(0.624, 0.681)),
    "A1": PaperRow(terminals=(0.504, 0.469, 0.497), gain=0.234),
    "A2": PaperRow(terminals=(0.504, 0.475, 0.501), gain=0.272, teacher=(0.624, 0.632)),
    "A3": PaperRow(terminals=(0.441, 0.315, 0.437), gain=None),
    "A4": PaperRow(terminals=(0.501, 0.478, 0.493), gain=0.237, teacher=(0.624, 0.624)),
}
"""By method. The mean of A2 is printed as 0.505; its cells give 0.493."""
