"""`nestevo-hw elastic adapt`: a terminal that keeps its latency budget by changing paths."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import POSITIVE, Range
from nestevo_hw.commands.options import Number, machine_readable, warn, whole

if TYPE_CHECKING:
    from nestevo_hw.terminals.elastic.adapting import Adapted


@click.command("adapt", short_help="Run on the best path that fits, and change over.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--search", "found", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder of a search, whose pool is chosen from.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("adapted"), show_default=True,
              help="Folder for result.json and timeline.png.")  # fmt: skip
@click.option("--budget-ms", type=Number(POSITIVE), metavar="MS", help="Of a frame.  [default: that of the search]")
@click.option("--frames", "source", type=click.Path(path_type=Path), metavar="FILE",
              help="Frames to run, over and over.  [default: the held-out ones of the build]")  # fmt: skip
@click.option("--count", type=whole(Range(1, 1_000_000)), default=300, show_default=True, help="Frames to run.")
@click.option("--fresh", type=click.Path(path_type=Path), metavar="FILE",
              help="Labelled frames of new conditions: the best of the pool are scored on them first.")  # fmt: skip
@click.option("--burden", metavar="FROM:TO",
              help="Have a process take a third of this one's processor from one frame to another.")  # fmt: skip
@machine_readable
def adapt(
    folder: Path,
    *,
    found: Path,
    out: Path,
    budget_ms: float | None,
    source: Path | None,
    count: int,
    fresh: Path | None,
    burden: str | None,
    as_json: bool,
) -> dict[str, Any]:
    """Run frames through the supernet in FOLDER on the best path that fits, and change it as the device's speed does.

    The time of every frame is compared with what the latency table says. Where they part, the table is rescaled and the
    best path of the pool that fits takes over; no more than the blocks in which the two differ is loaded.

    \b
    Examples:
      nestevo-hw elastic adapt runs/elastic --search runs/search
      nestevo-hw elastic adapt runs/elastic --search runs/search --burden 100:200
      nestevo-hw elastic adapt runs/elastic --search runs/search --fresh tonight.safetensors
    """
    from nestevo_hw.base.documents import plain, write_json
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.locking import is_unused, one_writer
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.studies.elastic.curve import save_timeline
    from nestevo_hw.terminals.elastic.adapting import AdaptConfig, adapt_pool, run_frames
    from nestevo_hw.terminals.elastic.edge import EdgeFrames
    from nestevo_hw.terminals.elastic.network import Network
    from nestevo_hw.terminals.elastic.selecting import read_selected

    selected, pool = read_selected(found)
    budget_s = selected.budget_s if budget_ms is None else budget_ms / 1e3
    config = AdaptConfig(budget_s=budget_s, frames=count, burden=_burden(burden, count))
    if not is_unused(out):
        raise ConfigError(f"{out} is not empty; choose another --out")
    network = Network(folder / "parts")
    pool.require(network.parts.space, str(found))
    edge = EdgeFrames.read_for(network.parts, source or folder / "held-out.safetensors")
    new = None if fresh is None else EdgeFrames.read_for(network.parts, fresh)
    if selected.cpu_time:
        warn("the search has measured time on the CPU, and frames are timed by the clock: search without --cpu-time")
    with one_writer(out), telling("running frames"):
        if new is not None:
            pool = adapt_pool(network, new, pool, budget_s)
        adapted = run_frames(network, edge, pool, config)
        write_json(out / "result.json", plain(adapted))
        save_timeline(adapted, out / "timeline.png")
    if not as_json:
        _show(adapted, out)
    return {"out": str(out), "late": adapted.late, **plain(adapted)}


def _burden(text: str | None, count: int) -> tuple[int, int] | None:
    from nestevo_hw.base.errors import ConfigError

    if text is None:
        return None
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        first, end = -1, -1
    if not 0 <= first < end <= count:
        raise ConfigError(f"--burden: need FROM:TO with 0 <= FROM < TO <= {count}, got {text[:40]!r}")
    return first, end


def _show(adapted: "Adapted", out: Path) -> None:
    from nestevo_hw.models.elastic.space import path_name

    for change in adapted.changes:
        loaded = f"{change.loaded} blocks loaded in {1e3 * change.seconds:.0f} ms"
        due = "" if change.fits else "; no path of the pool fits, search again"
        click.echo(
            f"frame {change.frame}: {change.rho:.2f} of the table's time, {path_name(change.path)}, {loaded}{due}"
        )
    click.echo(
        f"{adapted.late} of {len(adapted.seconds)} frames took longer than {1e3 * adapted.budget_s:.2f} ms (measured)"
    )
    click.echo(f"Wrote {out / 'result.json'} and timeline.png")
