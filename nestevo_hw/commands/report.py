"""`nestevo-hw report`: the page of a run."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.commands.options import machine_readable


@click.command(short_help="Make the pages and plots of a run anew.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@machine_readable
def report(run_dir: Path, *, as_json: bool) -> dict[str, Any]:
    """Rebuild report.html, overview.png and plots/ of RUN_DIR.

    Works on a finished run and on one that is still going or was stopped.

    \b
    Example:
      nestevo-hw report runs/quick
    """
    from nestevo_hw.pages.tables import show
    from nestevo_hw.report.events import read_run
    from nestevo_hw.report.page import write_report
    from nestevo_hw.report.summary import summarise
    from nestevo_hw.report.tables import summary_table
    from nestevo_hw.report.wording import unfinished

    page = write_report(run_dir)
    run = read_run(run_dir)
    if not as_json:
        show(summary_table(summarise(run)), *filter(None, [unfinished(run)]), f"Wrote {page}")
    return {"report": str(page), "overview": str(run_dir / "overview.png"), "status": run.state}
