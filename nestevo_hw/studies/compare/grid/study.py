"""Runs the cells of a grid, one comparison after another, and goes on after an interruption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nestevo_hw.base.errors import ConfigError, NestEvoError
from nestevo_hw.base.locking import require_unused_or_started
from nestevo_hw.studies.compare.grid.cells import Row, cells_of
from nestevo_hw.studies.compare.grid.spec import GridSpec
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.study import Advance, StudyPlan, Warn, check_runs, counted_runs, plan_study, run_all
from nestevo_hw.studies.compare.variants import choose


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPlan:
    """What will run in each cell."""

    spec: GridSpec
    rows: Sequence[Row]
    plans: Mapping[str, StudyPlan]
    """By folder of the cell."""

    @property
    def steps(self) -> int:
        """How often `run_grid` calls `advance`."""
        return sum(plan.steps for plan in self.plans.values())

    @property
    def runs(self) -> int:
        """Of all cells together."""
        return sum(len(plan.configs) for plan in self.plans.values())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be looked at before, one line each."""
        return tuple(dict.fromkeys(line for plan in self.plans.values() for line in plan.warnings))


def plan_grid(spec: GridSpec, rows: Sequence[Row], seeds: int | None = None) -> GridPlan:
    """Check every cell before anything runs.

    Args:
        spec: of the grid.
        rows: to run.
        seeds: in place of the grid's.

    Raises:
        ConfigError: a cell cannot run the method that the others are compared with.
        InputError: a video or its labels cannot be read.
    """
    variants, plans = choose(spec.methods, ablations=False), dict[str, StudyPlan]()
    for cell in cells_of(rows):
        try:
            plan = plans[cell.folder] = plan_study(cell.config, variants, seeds or spec.seeds)
        except NestEvoError as error:
            raise type(error)(f"{cell.source}: {error}") from error
        if spec.against in plan.left_out:
            raise ConfigError(f"cell {cell.folder}: {spec.against} {plan.left_out[spec.against]}")
    return GridPlan(spec=spec, rows=rows, plans=plans)


def run_grid(
    plan: GridPlan, folder: Path, *, resume: bool, keep_files: bool, advance: Advance, on_warning: Warn = lambda _: None
) -> dict[str, Comparison]:
    """Run what has not finished yet, each run into FOLDER/CELL/VARIANT-SEED without a page, and read all of it.

    Args:
        plan: what to run.
        folder: of the grid.
        resume: go on in a folder that holds cells already; else it must be new or empty.
        keep_files: keep all tensors of every run.
        advance: called with what has just ended, `plan.steps` times.
        on_warning: as for `run_study`.

    Returns:
        The comparison of each cell.

    Raises:
        ConfigError: the folder holds a run of another configuration, or none to resume.
        TaskError: a run failed.
        StoppedError: stopped by Ctrl-C or a signal; what has finished is kept.
    """
    started = any(folder.glob("*/*/run.json")) or any((folder / name).exists() for name in plan.plans)
    require_unused_or_started(folder, resume=resume, started=started, holds="grid")
    for name, cell in plan.plans.items():
        check_runs(cell, folder / name, on_warning)
    with counted_runs(folder, plan.runs) as ended:
        return {
            name: run_all(
                cell, folder / name, keep_files=keep_files, pages=False, ended=ended,
                advance=partial(_tell, advance, name),
            )
            for name, cell in plan.plans.items()
        }  # fmt: skip


def _tell(advance: Advance, cell: str, what: str) -> None:
    advance(f"{cell}: {what}")
