"""`nestevo-hw reproduce`: the paper's tables and figures, beside ours."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.ranges import Range
from nestevo_hw.commands.options import WORKERS, machine_readable, warn, whole

NAMES = ("all", *(f"table-{n}" for n in range(2, 7)), *(f"figure-{n}" for n in range(8, 16)))
"""Known before anything is loaded."""


@click.command(short_help="The paper's tables and figures, beside ours.")
@click.argument("items", nargs=-1, type=click.Choice(NAMES, case_sensitive=False), metavar="[table-N|figure-N|all]..")
@click.option("--seeds", type=whole(Range(1, 1000)), help="How many, counted up from 0.  [default: 3, quick 1]")
@click.option("--workers", type=WORKERS, help="Worker processes of the comparison.  [default: a core each, at most 4]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/reproduction"),
              show_default=True, help="Directory for the runs, reproduction.json, .html and .png.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Reuse what was measured in --out, and measure the rest.")
@click.option("--quick", is_flag=True, help="An impression: one seed, short runs on few frames.")
@machine_readable
def reproduce(
    items: tuple[str, ...], *, seeds: int | None, workers: int | None, out: Path, resume: bool, quick: bool,
    as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Reproduce tables 2 to 6 and figures 8 to 15 of the NestEvo paper, in its order.

    ITEMS are names such as table-4 and figure-12; without any, all. Each is printed beside the paper's figures, with
    95 % intervals over seeds, whether ours are measured, simulated or modelled, what the paper claims and whether it is
    so here. Items share their runs. What cannot be had here, such as the authors' videos and card, is said with each.

    \b
    Examples:
      nestevo-hw reproduce --quick
      nestevo-hw reproduce table-6 figure-13
      nestevo-hw reproduce table-4 --seeds 5 --out runs/table-4
      nestevo-hw reproduce all --out runs/reproduction --resume
    """
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.pages.tables import show
    from nestevo_hw.studies.reproduce.effort import FULL, QUICK
    from nestevo_hw.studies.reproduce.items import ALL, chosen
    from nestevo_hw.studies.reproduce.output import console_blocks, write_reproduction, written_items
    from nestevo_hw.studies.reproduce.study import plan_reproduction, run_reproduction

    effort = QUICK if quick else FULL
    named = (*(items or (ALL,)), *(written_items(out) if resume else ()))
    plan = plan_reproduction(chosen(named, effort), effort, seeds=seeds or effort.seeds, workers=workers)
    with one_writer(out, resume=resume):
        with progress_bar(plan.steps, "starting") as advance:
            found = run_reproduction(plan, out, resume=resume, advance=advance, on_warning=warn)
        written = write_reproduction(found, out)
    if not as_json:
        lines = (f"computed on {plan.device}", f"written to {out}: {', '.join(written)}")
        show(*console_blocks(found), *lines, width=140)
    return found.document()
