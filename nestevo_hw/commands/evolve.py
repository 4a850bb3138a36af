"""`nestevo-hw evolve`: the whole loop."""

from itertools import chain, count
from pathlib import Path
from typing import Any

import click

from nestevo_hw.commands.options import SEED_NUMBER, WINDOW_COUNT, WORKERS, compute_override, machine_readable, warn
from nestevo_hw.evolution.methods import METHODS


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--preset", default="quick", show_default=True, help="Configuration to use without CONFIG.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run folder.  [default: runs/METHOD-SEED, numbered if taken]",
)
@click.option("--resume", type=click.Path(path_type=Path, file_okay=False), help="Go on with the run in this folder.")
@click.option("--method", type=click.Choice(METHODS), help="Override the method.")
@click.option("--seed", type=SEED_NUMBER, help="Override the seed.")
@click.option("--windows", type=WINDOW_COUNT, help="Override the number of evolution windows.")
@click.option("--workers", type=WORKERS, help="Override the number of worker processes.")
@click.option(
    "--memory-gb", type=click.FloatRange(min=0, min_open=True), help="Override what tasks may reserve together."
)
@click.option(
    "--executor", type=click.Choice(["local", "ray"]), help="Override where tasks run: here, or on Ray nodes."
)
@click.option("--address", metavar="HOST:PORT", help="Head of the Ray cluster; local starts one on this machine.")
@compute_override
@click.option("--check", is_flag=True, help="Look for all that can be found wrong beforehand, and run nothing.")
@machine_readable
def evolve(
    config: Path | None,
    *,
    preset: str,
    out: Path | None,
    resume: Path | None,
    method: str | None,
    seed: int | None,
    windows: int | None,
    workers: int | None,
    memory_gb: float | None,
    executor: str | None,
    address: str | None,
    device: str | None,
    check: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Evolve the terminals of CONFIG, or of the embedded default, over several windows.

    Writes a run folder with run.json, metrics.jsonl, checkpoints, ONNX files, plots and report.html.

    \b
    Examples:
      nestevo-hw evolve
      nestevo-hw evolve evolve.toml --out runs/night --seed 1
      nestevo-hw evolve evolve.toml --check
      nestevo-hw evolve --method A4 --out runs/baseline
      nestevo-hw evolve --preset digits
      nestevo-hw evolve --executor ray --address local
      nestevo-hw evolve --resume runs/night --workers 1
    """
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.evolution.config import load_config, load_preset, override
    from nestevo_hw.evolution.run import checked, config_to_resume, most_tasks
    from nestevo_hw.evolution.run import evolve as run

    changes: dict[str, float | str | None] = {
        "method": method,
        "seed": seed,
        "window.count": windows,
        "execution.workers": workers,
    }
    changes |= {"execution.memory_gb": memory_gb, "execution.device": device}
    changes |= {"execution.executor": executor, "execution.address": address}
    if resume is not None:
        fixed = [value for name, value in changes.items() if not name.startswith("execution.")]
        if any(value is not None for value in (config, out, *fixed)):
            raise ConfigError(
                "--resume takes its configuration from the run folder; beside it, give only "
                "--workers, --memory-gb, --device, --executor or --address"
            )
        settings, folder = override(config_to_resume(resume), changes), resume
    else:
        settings = override(load_config(config) if config else load_preset(preset), changes)
        folder = out or _free_folder(Path("runs") / f"{settings.method}-{settings.seed}")
    if check:
        warnings: list[str] = []
        checked(settings, warnings.append)
        for line in () if as_json else warnings:
            warn(line)
        if not as_json:
            click.echo(f"nothing wrong found: {len(settings.terminals)} terminals, {settings.window.count} windows")
        return {"terminals": len(settings.terminals), "windows": settings.window.count, "warnings": warnings}
    with progress_bar(most_tasks(settings), "starting workers") as advance:
        summary = run(
            settings, folder, resume=resume is not None, on_task=lambda task: advance(task.name), on_warning=warn
        )
    if not as_json:
        _show(summary, folder)
    if summary["failures"]:
        again = "--resume tries those again whose worker died"
        click.echo(f"Completed with failures: {summary['failures']} (see report.html); {again}", err=True)
    return summary


def _free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of wanted-2, wanted-3, ... that does not exist."""
    numbered = (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))
    return next(folder for folder in chain([wanted], numbered) if not folder.exists())


def _show(summary: dict[str, Any], folder: Path) -> None:
    from nestevo_hw.pages.tables import show
    from nestevo_hw.report.events import read_run
    from nestevo_hw.report.tables import prediction_table, summary_table

    show(
        summary_table(summary),
        prediction_table(read_run(folder)),
        f"computed on {summary.get('device') or 'a device that was not recorded'}",
        f"Report: {folder / 'report.html'}",
    )
