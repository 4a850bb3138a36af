"""What the cells of a grid came to, row by row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nestevo_hw.base.stats import Estimate, or_none
from nestevo_hw.report.wording import teacher_place
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.grid.cells import Row
from nestevo_hw.studies.compare.grid.spec import BASE
from nestevo_hw.studies.compare.grid.study import GridPlan
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.variants import NESTEVO, TRUE_LABELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one variant came to in one row."""

    after: Estimate
    """Accuracy of the scored terminals after evolving, over seeds."""
    apart: Estimate
    """That minus the accuracy of the variant that all are compared with, paired by seed."""
    by_seed: tuple[float, ...]
    """The differences; NaN where a seed has none."""
    teacher: Estimate
    """The teacher on all terminals' later frames, as it labelled last; not defined where it never changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeRow:
    """One row of the map."""

    row: Row
    findings: Mapping[str, Finding]
    """By variant that ran."""

    @property
    def is_base(self) -> bool:
        """Whether it changes nothing."""
        return self.row.cell.folder == BASE


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeMap:
    """All rows of a grid."""

    rows: Sequence[RegimeRow]
    against: str
    metric: str
    seeds: tuple[int, ...]
    task: str
    teacher: str
    """What computes the teacher, and how its figures came about."""
    left_out: Mapping[str, str]
    """Variants that did not run in a cell and why, by `cell: variant`."""
    failures: Mapping[str, list[str]]
    """Tasks that failed for good, by `cell: run`."""

    @property
    def names(self) -> list[str]:
        """Variants other than the one that they are compared with: methods, ablations, then true labels."""
        found = dict.fromkeys(name for row in self.rows for name in row.findings if name != self.against)
        return sorted(found, key=lambda name: (name == TRUE_LABELS, name != NESTEVO))

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "metric": self.metric, "against": self.against, "task": self.task, "teacher": self.teacher,
            "seeds": list(self.seeds),
            "left_out": dict(self.left_out), "failures": dict(self.failures),
            "rows": [
                {
                    "axis": row.row.axis, "value": row.row.value, "cell": row.row.cell.folder,
                    "scored": list(row.row.scored),
                    "methods": {name: _document(found) for name, found in row.findings.items()},
                }
                for row in self.rows
            ],
        }  # fmt: skip


def read_map(plan: GridPlan, found: Mapping[str, Comparison]) -> RegimeMap:
    """The map of finished cells.

    Args:
        plan: of the grid.
        found: the comparison of each cell.
    """
    first = next(iter(found.values()))
    rows = [RegimeRow(row=row, findings=_findings(row, found[row.cell.folder], plan.spec.against)) for row in plan.rows]
    return RegimeMap(
        rows=rows, against=plan.spec.against, metric=first.metric, seeds=first.seeds,
        task=plan.rows[0].cell.config.task, teacher=_teacher(row.row.cell.config.document() for row in rows),
        left_out={f"{cell}: {name}": why for cell, each in found.items() for name, why in each.left_out.items()},
        failures={f"{cell}: {run}": why for cell, each in found.items() for run, why in each.failures.items()},
    )  # fmt: skip


def _teacher(configs: Iterable[Mapping[str, Any]]) -> str:
    return " or ".join(sorted({teacher_place(config) for config in configs}))


def _findings(row: Row, found: Comparison, against: str) -> dict[str, Finding]:
    where = [place for place in found.terminal_windows if place[0] in row.scored]
    return {
        name: Finding(
            after=measures.after(found, name, where),
            apart=measures.difference(found, name, against, where),
            by_seed=tuple(measures.difference_by_seed(found, name, against, where)),
            teacher=measures.teacher_after(found, name),
        )
        for name in found.names
    }


def _document(found: Finding) -> dict[str, Any]:
    return {
        "after": found.after.document(),
        "minus_against": {**found.apart.document(), "by_seed": [or_none(value) for value in found.by_seed]},
        "teacher": found.teacher.document(),
    }
