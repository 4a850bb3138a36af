"""`nestevo-hw evolve`: the whole loop."""

from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.ranges import Range
from nestevo_hw.commands.checked import found_right
from nestevo_hw.commands.options import (
    SEED_NUMBER,
    WINDOW_COUNT,
    WORKERS,
    compute_override,
    machine_readable,
    refuse_preset_beside,
    warn,
    whole,
)
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.preload import PRELOAD
from nestevo_hw.scheduler.server_process import ServerProcess


@click.command(short_help="Run the whole loop: the main job.")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--preset", help="Configuration to use without CONFIG.  [default: quick]")
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
    "--executor",
    type=click.Choice(["local", "inline", "ray"]),
    help="Override where tasks run: in workers here, in this process, or on Ray nodes.",
)
@click.option("--address", metavar="HOST:PORT", help="Head of the Ray cluster; local starts one on this machine.")
@compute_override
@click.option(
    "--gpus", type=whole(Range(0, 64)), help="Override how many GPUs tasks are spread over; 0: all there are."
)
@click.option("--quick", is_flag=True, help="An impression: one window, two terminals, fewer frames and steps.")
@click.option("--check", is_flag=True, help="Look for all that can be found wrong beforehand, and run nothing.")
@machine_readable
def evolve(
    config: Path | None,
    *,
    preset: str | None,
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
    gpus: int | None,
    quick: bool,
    check: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Evolve the terminals of CONFIG, or of the embedded default, over several windows.

    Writes a run folder with run.json, metrics.jsonl, checkpoints, ONNX files, plots and report.html.

    \b
    Examples:
      nestevo-hw evolve --quick
      nestevo-hw evolve
      nestevo-hw evolve evolve.toml --out runs/night --seed 1
      nestevo-hw evolve evolve.toml --check
      nestevo-hw evolve --method A4 --out runs/baseline
      nestevo-hw evolve --preset digits
      nestevo-hw evolve --executor ray --address local
      nestevo-hw evolve --resume runs/night --workers 1
    """
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.commands.progress import telling

    changes: dict[str, float | str | None] = {
        "method": method,
        "seed": seed,
        "window.count": windows,
        "execution.workers": workers,
    }
    changes |= {"execution.memory_gb": memory_gb, "execution.device": device, "execution.gpus": gpus}
    changes |= {"execution.executor": executor, "execution.address": address}
    fixed = {"CONFIG": config, "--out": out, "--quick": quick or None} | {
        k: v for k, v in changes.items() if not k.startswith("execution.")
    }
    if quick and windows is not None:
        raise ConfigError("--quick is one window; leave --windows out")
    refuse_preset_beside(config, preset)
    preset = preset or "quick"
    given = _look(config, preset, resume, fixed)
    # Workers load the libraries while this process does.
    local = not check and executor in (None, "local")
    server = click.get_current_context().with_resource(ServerProcess(PRELOAD)) if local else None
    with telling("loading libraries", at_once=True) as told:
        from nestevo_hw.evolution.config import load_preset, override, read_config
        from nestevo_hw.evolution.impression import impression
        from nestevo_hw.evolution.outlook import most_tasks, most_work_s, task_words, work_s
        from nestevo_hw.evolution.run import checked, config_to_resume
        from nestevo_hw.evolution.run import evolve as run

        if resume is not None:
            settings, folder = override(config_to_resume(resume), changes), resume
        else:
            settings = override(read_config(given, config) if config else load_preset(preset), changes)
            settings = impression(settings) if quick else settings
            name = f"{settings.method}-{settings.seed}{'-quick' if quick else ''}"
            folder = out or _free_folder(Path("runs") / name)
        warnings: list[str] = []
        if check:
            checked(settings, warnings.append)
        else:
            windows = settings.window.count
            told.expect(most_tasks(settings), "starting workers", work=most_work_s(settings))
            summary = run(
                settings, folder, resume=resume is not None, quick=quick, on_warning=warn, server=server,
                on_task=lambda task: told.advance(task_words(task, windows), work_s(task)),
            )  # fmt: skip
    if check:
        return found_right(settings, warnings, quiet=as_json)
    if not as_json:
        _show(summary, folder)
    if summary["failures"]:
        again = "--resume tries those again whose worker died"
        click.echo(f"Completed with failures: {summary['failures']} (see report.html); {again}", err=True)
    return summary


def _look(config: Path | None, preset: str, resume: Path | None, fixed: Mapping[str, object]) -> dict[str, Any]:
    """Refuse what can be refused without torch, which takes seconds to load; `fixed` is what a resumed run has.

    Returns:
        What the file `config` says; empty without one.
    """
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.locking import require_folder
    from nestevo_hw.evolution.presets import preset_text, run_document

    if resume is not None:
        if any(value is not None for value in fixed.values()):
            raise ConfigError(
                "--resume takes its configuration from the run folder; beside it, give only "
                "--workers, --memory-gb, --device, --gpus, --executor or --address"
            )
        require_folder(resume)
    elif config is not None:
        return run_document(config)
    else:
        preset_text(preset)
    return {}


def _free_folder(wanted: Path) -> Path:
    """`wanted`, or the first of wanted-2, wanted-3, ... that does not exist."""
    numbered = (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))
    return next(folder for folder in chain([wanted], numbered) if not folder.exists())


def _show(summary: dict[str, Any], folder: Path) -> None:
    from nestevo_hw.pages.tables import show
    from nestevo_hw.report.events import read_run
    from nestevo_hw.report.tables import paths_table, prediction_table, summary_table
    from nestevo_hw.report.wording import IMPRESSION

    run = read_run(folder)
    paths = paths_table(run)
    show(
        *([IMPRESSION] if run.header.impression else []),
        summary_table(summary),
        *([paths] if paths.rows else []),
        prediction_table(run),
        f"computed on {summary.get('device') or 'a device that was not recorded'}",
        f"Report: {folder / 'report.html'}",
    )
