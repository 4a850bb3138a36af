"""`nestevo-hw compare --grid`: a comparison in every cell of a grid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.commands.options import warn


def compare_grid(
    path: Path, out: Path, *, axes: str | None, seeds: int | None, resume: bool, keep_files: bool, as_json: bool
) -> dict[str, Any]:
    """Run a grid's cells and show the map; returns its document.

    Args:
        path: of the grid's file.
        out: folder of the grid.
        axes: names of those to run, with commas; None: all.
        seeds: in place of the grid's.
        resume: reuse what has run in `out`.
        keep_files: keep all tensors of every run.
        as_json: leave the table out.
    """
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import progress_bar, telling
    from nestevo_hw.evolution.run import computed_on
    from nestevo_hw.pages.formats import counted
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.compare.grid.cells import chosen_axes, open_grid
    from nestevo_hw.studies.compare.grid.output import map_table, write_map
    from nestevo_hw.studies.compare.grid.results import read_map
    from nestevo_hw.studies.compare.grid.spec import load_spec
    from nestevo_hw.studies.compare.grid.study import plan_grid, run_grid
    from nestevo_hw.studies.compare.wording import failure_lines

    spec = load_spec(path)
    if axes is not None:
        spec = chosen_axes(spec, [name.strip() for name in axes.split(",") if name.strip()])
    with telling("checking every cell"):
        plan = plan_grid(spec, open_grid(spec, path), seeds)
    computing = computed_on(plan.rows[0].cell.config.execution)["device"]
    for line in plan.warnings:
        warn(line)
    with one_writer(out, resume=resume):
        with progress_bar(plan.steps, f"{counted(len(plan.plans), 'cell')}, {counted(plan.runs, 'run')}") as advance:
            ran = run_grid(plan, out, resume=resume, keep_files=keep_files, advance=advance, on_warning=warn)
            found = read_map(plan, ran)
        written = write_map(found, out)
    if not as_json:
        left_out = (f"{name} {why}" for name, why in found.left_out.items())
        lines = (*left_out, *failure_lines(found.failures), f"computed on {computing}")
        show(map_table(found), *lines, f"written to {out}: {', '.join(written)}", width=160)
    return found.document()


def check_alone(given: Mapping[str, object]) -> None:
    """Refuse options that the grid's file decides.

    Args:
        given: options by name; empty values were not given.

    Raises:
        ConfigError: one was.
    """
    odd = next((name for name, value in given.items() if value), None)
    if odd is not None:
        raise ConfigError(f"--grid: its file names base, methods and what varies; leave {odd} out")
