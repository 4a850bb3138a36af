"""`nestevo-hw compare`: methods side by side."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import Range
from nestevo_hw.commands.compare_grid import check_alone, compare_grid
from nestevo_hw.commands.options import (
    WINDOW_COUNT,
    WORKERS,
    compute_override,
    machine_readable,
    refuse_preset_beside,
    warn,
    whole,
)
from nestevo_hw.evolution.methods import METHODS


@click.command(short_help="Run methods side by side, over several seeds.")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--preset", help="Configuration to use without CONFIG.  [default: quick]")
@click.option("--methods", metavar="A,B,..",
              help=f"Comma-separated: {', '.join(METHODS)}, or single ablations.  "
              "[default: all methods; quick NestEvo,A4,true-labels]")  # fmt: skip
@click.option("--list", "only_list", is_flag=True, help="Say what each method and ablation does; run nothing.")
@click.option("--grid", type=click.Path(path_type=Path, dir_okay=False), metavar="GRID.toml",
              help="Compare in every cell of a grid instead, and show where which method pays.")  # fmt: skip
@click.option("--axes", metavar="A,B,..", help="Of the grid, run and show these only.")
@click.option("--ablations", is_flag=True, help="Also run NestEvo with one part changed at a time.")
@click.option("--gap", is_flag=True, help="Also run what splits the gap to true labels, camera by camera.")
@click.option("--seeds", type=whole(Range(1, 1000)), help="How many, counted up from the configuration's.  "
              "[default: 5, quick 1, of a grid what its file says]")  # fmt: skip
@click.option("--windows", type=WINDOW_COUNT, help="Override the number of evolution windows.")
@click.option("--workers", type=WORKERS, help="Override the number of worker processes.")
@compute_override
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/comparison"),
              show_default=True, help="Directory for the runs, comparison.json and comparison.html.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Reuse what has run in --out, and run the rest.")
@click.option("--keep-files", is_flag=True, help="Keep frames, labels and crossbar states of every run.")
@click.option("--quick", is_flag=True, help="One seed, one window, three methods.")
@machine_readable
def compare(
    config: Path | None,
    *,
    preset: str | None,
    methods: str | None,
    only_list: bool,
    grid: Path | None,
    axes: str | None,
    ablations: bool,
    gap: bool,
    seeds: int | None,
    windows: int | None,
    workers: int | None,
    device: str | None,
    out: Path,
    resume: bool,
    keep_files: bool,
    quick: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Run methods with the same seeds, frames and optimiser steps, and compare what they come to.

    Prints a table shaped like the paper's Table 4, with 95 % intervals over seeds, next to the paper's figures, and
    which goals were reached. Each run goes into its own folder OUT/METHOD-SEED with its own page.

    \b
    Examples:
      nestevo-hw compare --list
      nestevo-hw compare --quick
      nestevo-hw compare --seeds 5 --out runs/comparison
      nestevo-hw compare evolve.toml --methods NestEvo,A4,true-labels --ablations
      nestevo-hw compare --methods NestEvo --gap --seeds 3 --out runs/gap
      nestevo-hw compare --seeds 10 --out runs/comparison --resume
      nestevo-hw compare --grid examples/regime.toml --axes frames,cameras --out runs/regime
    """
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.evolution.config import load_config, load_preset, override
    from nestevo_hw.evolution.run import computed_on
    from nestevo_hw.pages.formats import counted
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.compare.document import document_of
    from nestevo_hw.studies.compare.gap import gap_table, splits_gap
    from nestevo_hw.studies.compare.output import write_comparison
    from nestevo_hw.studies.compare.study import plan_study, run_study
    from nestevo_hw.studies.compare.table import console_tables
    from nestevo_hw.studies.compare.variants import QUICK, choose, listing
    from nestevo_hw.studies.compare.wording import conclusion, failure_lines

    if only_list:
        found_variants = listing()
        if not as_json:
            for variant in found_variants:
                click.echo(f"{variant['name']:<24} {variant['meaning']}")
        return {"methods": found_variants}
    if grid is not None:
        check_alone({
            "CONFIG": config, "--preset": preset, "--methods": methods, "--ablations": ablations, "--gap": gap,
            "--windows": windows, "--workers": workers is not None, "--device": device, "--quick": quick,
        })  # fmt: skip
        return compare_grid(grid, out, axes=axes, seeds=seeds, resume=resume, keep_files=keep_files, as_json=as_json)
    if axes is not None:
        raise ConfigError("--axes are those of a grid; give one with --grid, or leave --axes out")
    names = None if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    chosen = choose(QUICK if quick and names is None else names, ablations=ablations, gap=gap)
    changes: dict[str, int | str | None] = {"execution.workers": workers, "execution.device": device}
    changes["window.count"] = windows or (1 if quick else None)
    refuse_preset_beside(config, preset)
    base = override(load_config(config) if config else load_preset(preset or "quick"), changes)
    plan = plan_study(base, chosen, seeds or (1 if quick else 5))
    computing = computed_on(base.execution)["device"]
    for line in plan.warnings:
        warn(line)
    with one_writer(out, resume=resume):
        with progress_bar(plan.steps, counted(len(plan.configs), "run")) as advance:
            found = run_study(plan, out, resume=resume, keep_files=keep_files, advance=advance, on_warning=warn)
        written = write_comparison(found, out)
    if not as_json:
        left_out = (f"{name} {why}" for name, why in found.left_out.items())
        failed = failure_lines(found.failures)
        outcome = (conclusion(found), f"computed on {computing}", f"written to {out}: {', '.join(written)}")
        tables = [*console_tables(found), *([gap_table(found)] if splits_gap(found) else [])]
        show(*tables, *left_out, *failed, *outcome, width=180)
    return document_of(found)
