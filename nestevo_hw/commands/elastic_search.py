"""`nestevo-hw elastic search`: the best path under a latency budget, on the device itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import POSITIVE, Range
from nestevo_hw.commands.options import SEED_NUMBER, Number, machine_readable, whole

if TYPE_CHECKING:
    from nestevo_hw.studies.elastic.curve import Point
    from nestevo_hw.terminals.elastic.selecting import SearchConfig, Selected

STRATEGY_NAMES = ("refined", "additive", "nearby", "evolution", "annealing", "random", "uniform", "exhaustive")


@click.command("search", short_help="Find the most accurate path within a latency.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder for the latency table, the accuracies, pool.json, result.json and curve.png.")  # fmt: skip
@click.option("--budget", type=Number(Range(0.01, 1)), metavar="SHARE",
              help="Of the time that the base takes on this device.  [default: 0.6]")  # fmt: skip
@click.option("--budget-ms", type=Number(POSITIVE), metavar="MS", help="Of a frame, in place of --budget.")
@click.option("--strategy", type=click.Choice(STRATEGY_NAMES), default="refined", show_default=True,
              help="How paths are chosen for measuring (docs/elastic-search.md).")  # fmt: skip
@click.option("--frames", "source", type=click.Path(path_type=Path), metavar="FILE",
              help="Labelled frames of this terminal.  [default: the held-out ones of the build]")  # fmt: skip
@click.option("--most-frames", type=whole(Range(1, 10_000)), default=64, show_default=True,
              help="Of them to measure accuracies on.")  # fmt: skip
@click.option("--evaluations", type=whole(Range(1, 1_000_000)), default=120, show_default=True,
              help="Paths to measure at most.")  # fmt: skip
@click.option("--seconds", type=Number(POSITIVE), help="Of the search at most.  [default: no limit]")
@click.option("--against", type=click.Path(path_type=Path), multiple=True, metavar="CHECKPOINT",
              help="Measure this model beside base and path, as whole files, on the frames that the search "
              "has not seen; may be repeated. Needs torch.")  # fmt: skip
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the chosen path as a checkpoint, such as a terminal's model is. Needs torch.")  # fmt: skip
@click.option("--factory", metavar="MODULE:NAME",
              help="Your own code that models of --against and --checkpoint are made by.")  # fmt: skip
@click.option("--cpu-time", is_flag=True,
              help="Time in seconds of the CPU: other work on this machine spoils those of the clock.")  # fmt: skip
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of the search.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted search in --out.")
@machine_readable
def search(
    folder: Path,
    *,
    out: Path,
    budget: float | None,
    budget_ms: float | None,
    strategy: str,
    source: Path | None,
    most_frames: int,
    evaluations: int,
    seconds: float | None,
    against: tuple[Path, ...],
    checkpoint: Path | None,
    factory: str | None,
    cpu_time: bool,
    seed: int,
    resume: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Find the path through the supernet in FOLDER that is the most accurate under a latency budget.

    Every block is timed on this device, whole paths check the table, and accuracies are measured on labelled frames;
    paths that begin alike share the work. All that was measured stays as a pool to choose from later.

    \b
    Examples:
      nestevo-hw elastic search runs/elastic --out runs/search
      nestevo-hw elastic search runs/elastic --out runs/search --budget-ms 5 --strategy nearby
      nestevo-hw elastic search runs/elastic --out runs/search --checkpoint path.safetensors
      nestevo-hw elastic search runs/elastic --out runs/search --against checkpoints/digits-mobilenet-m2.safetensors
    """
    from nestevo_hw.base.documents import plain
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.files import require_file
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.studies.elastic.curve import save_comparison, save_curve
    from nestevo_hw.terminals.elastic.network import Network
    from nestevo_hw.terminals.elastic.selecting import USUAL_BUDGET, SearchConfig, read_selected, select

    if budget is not None and budget_ms is not None:
        raise ConfigError("--budget and --budget-ms both say what a frame may take; give one of them")
    config = SearchConfig(
        budget=USUAL_BUDGET if budget is None else budget, budget_ms=budget_ms, strategy=strategy, frames=most_frames,
        evaluations=evaluations, seconds=seconds, seed=seed, cpu_time=cpu_time,
    )  # fmt: skip
    frames = source or folder / "held-out.safetensors"
    for path in against:
        require_file(path, advice="correct --against")
    if against or checkpoint is not None:
        _check_code(folder, against, factory)
    with one_writer(out, resume=resume), telling("measuring the latency table") as told:
        select(folder / "parts", frames, out, config, resume=resume, tell=told.say)
        selected, pool = read_selected(out)
        detects = Network(folder / "parts").parts.kind == "detection"
        metric = "mAP@0.50" if detects else "accuracy"
        save_curve(selected, pool, metric, out / "curve.png")
        points, where = _measured(against, folder, frames, selected, config)
        if points:
            save_comparison(points, f"{metric} on {where}", out / "comparison.png")
        if checkpoint is not None:
            _save(folder, selected, checkpoint)
    if not as_json:
        _show(selected, points, where, out, checkpoint)
    return {"out": str(out), **plain(selected), "against": plain(points), "against_on": where}


def _check_code(folder: Path, against: tuple[Path, ...], factory: str | None) -> None:
    """No code runs that the user has not named."""
    from nestevo_hw.models.checkpoint import check_named, check_origin
    from nestevo_hw.models.elastic.store import read_supernet_spec

    supernet = folder / "supernet.safetensors"
    check_named(read_supernet_spec(supernet), supernet, factory, "--factory")
    for path in against:
        check_origin(path, factory, "--factory")


def _measured(
    against: tuple[Path, ...], folder: Path, frames: Path, selected: "Selected", config: "SearchConfig"
) -> "tuple[list[Point], str]":
    """What is held against the path, and on which frames."""
    if not against:
        return [], ""
    from nestevo_hw.studies.elastic.against import side_by_side
    from nestevo_hw.terminals.elastic.edge import EdgeFrames

    seen, others = EdgeFrames.read(frames).parted(config.frames)
    scored, where = (others, "other frames") if len(others.images) else (seen, "the frames of the search")
    return side_by_side(folder / "supernet.safetensors", selected.best.path, against, scored, config.clock), where


def _save(folder: Path, selected: "Selected", checkpoint: Path) -> None:
    from nestevo_hw.models.elastic.store import load_supernet, save_path

    supernet, spec = load_supernet(folder / "supernet.safetensors")
    save_path(supernet, spec, selected.best.path, checkpoint)


def _show(selected: "Selected", points: "list[Point]", where: str, out: Path, checkpoint: Path | None) -> None:
    from nestevo_hw.models.elastic.space import path_name

    off, base, best = selected.timing.off, selected.base, selected.best
    click.echo(f"latency table: off by {off.p50:.1%} (p50) and {off.p95:.1%} (p95) on {off.paths} other paths")
    click.echo(f"base: {1e3 * base.seconds:.2f} ms predicted, {1e3 * selected.timing.base_s:.2f} ms measured, "
               f"accuracy {base.accuracy:.3f}")  # fmt: skip
    click.echo(f"best of {selected.evaluated} paths in {selected.seconds:.0f} s: {path_name(best.path)}")
    click.echo(f"      {1e3 * best.seconds:.2f} ms predicted, {1e3 * selected.measured_s:.2f} ms measured, "
               f"accuracy {best.accuracy:.3f}; budget {1e3 * selected.budget_s:.2f} ms")  # fmt: skip
    for point in points:
        behind = point.behind
        more = "" if not behind.high > behind.low else (
            f", the chosen path {behind.value:+.3f} [{behind.low:+.3f}, {behind.high:+.3f}]"
        )  # fmt: skip
        click.echo(f"{point.name} as one file: {1e3 * point.seconds:.2f} ms measured, accuracy {point.accuracy:.3f} on "
                   f"{where}{more}")  # fmt: skip
    click.echo(
        f"Wrote {out / 'pool.json'}, result.json and curve.png{'' if checkpoint is None else f', and {checkpoint}'}"
    )
