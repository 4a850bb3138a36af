"""`nestevo-hw dynamic`: a terminal's model that does no more than its frames need."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import FRAMES, SHARE, Range
from nestevo_hw.commands.options import Number, machine_readable, whole

if TYPE_CHECKING:
    from nestevo_hw.models.elastic.space import BranchPath, PathSpace
    from nestevo_hw.terminals.dynamic.config import DynamicSettings
    from nestevo_hw.terminals.dynamic.hooks.ways import Hooks
    from nestevo_hw.terminals.dynamic.model import DynamicModel
    from nestevo_hw.terminals.dynamic.preparing import Prepared
    from nestevo_hw.terminals.dynamic.profile import ProfileSummary

_PARTS = click.argument("parts", type=click.Path(path_type=Path, file_okay=False))
_SOURCE = click.option("--source", required=True, help="A video file, a folder of images, or an address (rtsp://..).")
_FRAMES = click.option("--frames", type=whole(FRAMES), help="Most frames to run.  [default: all; 300 of a live source]")
_PATH = click.option("--path", "names", metavar="A+B+..", help="Branches of the path to run.  [default: the base]")
_MODE = click.option("--mode", type=click.Choice(["exact", "approximate"]), default="exact", show_default=True,
                     help="Whether small changes of features may be dropped.")  # fmt: skip
_THREADS = click.option("--threads", type=whole(Range(1, 256)), default=1, show_default=True, help="Of ONNX Runtime.")
_KEY = click.option("--key-every", type=whole(FRAMES), default=50, show_default=True,
                    help="Frames from one that is run dense to the next.")  # fmt: skip
_HOOKS = click.option("--hooks", type=click.Path(path_type=Path, dir_okay=False),
                      help="Cheaper ways that `profile --hooks` wrote, to be taken where they agree.")  # fmt: skip
_LEARNER = click.option("--learner", type=click.Choice(["constant", "threshold", "logistic", "forward", "symba"]),
                        help="What learns where --hooks agree.  [default: constant]")  # fmt: skip
_LIVE_FRAMES = 300


@click.group(short_help="On a terminal: compute only what has changed.")
def dynamic() -> None:
    """Run a model on a terminal so that what does not change is not computed again (docs/dynamic.md).

    PARTS is the folder `parts` that `nestevo-hw elastic build` writes. Nothing is trained. Needs no PyTorch.

    \b
    Examples:
      nestevo-hw dynamic profile runs/elastic/parts --source north.mp4
      nestevo-hw dynamic run runs/elastic/parts --source north.mp4 --out runs/dynamic --overlay changed.mp4
      nestevo-hw dynamic bench runs/elastic/parts --source north.mp4
    """


@dynamic.command(short_help="What each stage costs, and why some stay whole.")
@_PARTS
@_SOURCE
@_FRAMES
@_PATH
@_MODE
@_THREADS
@click.option("--exits", type=click.Path(path_type=Path, dir_okay=False),
              help="File for early exits of a classifier, fitted on the frames without labels.")  # fmt: skip
@click.option("--hooks", type=click.Path(path_type=Path, dir_okay=False),
              help="File for cheaper ways through the stages, fitted on the frames without labels.")  # fmt: skip
@click.option("--agreement", type=Number(SHARE), default=0.99, show_default=True,
              help="Share of early answers that must be the model's own.")  # fmt: skip
@machine_readable
def profile(
    parts: Path, *, source: str, frames: int | None, names: str | None, mode: str, threads: int, exits: Path | None,
    hooks: Path | None, agreement: float, as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Run the model of PARTS on a source, and show what each stage costs and why some are always run whole.

    \b
    Examples:
      nestevo-hw dynamic profile runs/elastic/parts --source north.mp4
      nestevo-hw dynamic profile runs/elastic/parts --source images --exits exits.safetensors
      nestevo-hw dynamic profile runs/elastic/parts --source north.mp4 --hooks hooks.safetensors
    """
    from nestevo_hw.base.documents import plain
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.terminals.dynamic.exits import save
    from nestevo_hw.terminals.dynamic.model import DynamicModel
    from nestevo_hw.terminals.dynamic.running import fit_exits, run
    from nestevo_hw.terminals.source import open_source

    prepared, _ = _prepared(parts, names, join=exits is None and hooks is None)
    model = DynamicModel(prepared, _settings(mode, threads))
    most = _most(frames, source)
    document: dict[str, Any] = {}
    if exits is not None:
        heads = fit_exits(model, open_source(source, pace=False, loop=False), most=most, least_agreement=agreement)
        save(heads, exits)
        document["exits"] = {name: head.entropy for name, head in heads.items()}
    if hooks is not None:
        document["hooks"] = _fitted_hooks(model, source, most, hooks)
    with telling("first frame", total=most) as told:
        run(model, open_source(source, pace=False, loop=False), most=most, advance=told.advance)
    found = model.profile.summary
    document |= {**plain(found), "threshold": model.watch.typical_threshold, "whole": _whole_stages(model)}
    if not as_json:
        _show_profile(found, document)
    return document


@dynamic.command(short_help="Run a model, computing only what changed.")
@_PARTS
@_SOURCE
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="JSON file for timings.")
@click.option("--overlay", type=click.Path(path_type=Path, dir_okay=False),
              help="Video (.mp4) of what was computed anew, or picture (.png) of the last frame.")  # fmt: skip
@_FRAMES
@_PATH
@_MODE
@_THREADS
@_KEY
@click.option("--exits", type=click.Path(path_type=Path, dir_okay=False), help="Early exits that `profile` wrote.")
@_HOOKS
@_LEARNER
@machine_readable
def run(
    parts: Path, *, source: str, out: Path, overlay: Path | None, frames: int | None, names: str | None, mode: str,
    threads: int, key_every: int, exits: Path | None, hooks: Path | None, learner: str | None, as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Run the model of PARTS on a video, a folder of images or a camera, and write what each frame took.

    Ctrl-C, or an overlay that cannot be written, ends the run early and keeps what has been measured.

    \b
    Examples:
      nestevo-hw dynamic run runs/elastic/parts --source north.mp4 --out timings.json --overlay changed.mp4
      nestevo-hw dynamic run runs/elastic/parts --source rtsp://camera --frames 500 --out timings.json
      nestevo-hw dynamic run runs/elastic/parts --source north.mp4 --out timings.json --hooks hooks.safetensors
    """
    from contextlib import ExitStack, nullcontext

    from nestevo_hw.base.documents import plain, write_json
    from nestevo_hw.base.errors import StoppedError
    from nestevo_hw.base.interruption import asked_to_stop
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.terminals.dynamic.exits import load
    from nestevo_hw.terminals.dynamic.model import DynamicModel
    from nestevo_hw.terminals.dynamic.overlay import check_overlay, overlay_writer
    from nestevo_hw.terminals.dynamic.running import FrameRow, timings
    from nestevo_hw.terminals.dynamic.running import run as run_on
    from nestevo_hw.terminals.source import open_source

    if overlay is not None:
        check_overlay(overlay)
    settings = _settings(mode, threads, key_every, learner, hooks)
    prepared, known = _prepared(parts, names, hooks=hooks)
    model = DynamicModel(prepared, settings)
    if exits is not None:
        model.use_exits(load(exits))
    learning = None if known is None else model.use_hooks(known)
    most = _most(frames, source)
    writer = nullcontext() if overlay is None else overlay_writer(overlay, model.parts.image[1:])
    rows = list[FrameRow]()
    try:
        with ExitStack() as beside, asked_to_stop() as stop, telling("first frame", total=most) as told, writer as draw:
            if learning is not None:
                beside.enter_context(learning.background())
            shown = open_source(source, pace=False, loop=False)
            run_on(model, shown, most=most, draw=draw, advance=told.advance, stopped=stop.is_set, rows=rows)
    finally:
        if rows:
            found = model.profile.summary
            document = {"source": source, "mode": mode, **timings(rows), "profile": plain(found)}
            if learning is not None:
                document["learning"] = {"learner": model.settings.hooks.learner, **plain(learning.summary)}
            write_json(out, {**document, "frames": plain(rows)})
    if stop.is_set():
        raise StoppedError(f"stopped; kept {out}: {len(rows)} frames", stop.number)
    if not as_json:
        _show_profile(found, {"threshold": model.watch.typical_threshold, "whole": _whole_stages(model)})
        if learning is not None:
            click.echo(f"hook after {learning.hook.after}: {learning.told}")
        click.echo(f"Wrote {out}" + (f" and {overlay}" if overlay else ""))
    return document


@dynamic.command(short_help="Beside the dense model, frame by frame.")
@_PARTS
@_SOURCE
@_FRAMES
@_PATH
@_THREADS
@_KEY
@_HOOKS
@_LEARNER
@machine_readable
def bench(
    parts: Path, *, source: str, frames: int | None, names: str | None, threads: int, key_every: int,
    hooks: Path | None, learner: str | None, as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Run the dense model, its chained stages and the dynamic model in turns on every frame of a source.

    Agreement and score are against the dense model; benchmarks/dynamic_terminal.py measures with truth.

    \b
    Example:
      nestevo-hw dynamic bench runs/elastic/parts --source north.mp4 --frames 300
    """
    from itertools import islice

    from nestevo_hw.base.documents import plain
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.terminals.dynamic.bench import compare
    from nestevo_hw.terminals.dynamic.fitting import fitted
    from nestevo_hw.terminals.source import open_source

    settings = _settings("exact", threads, key_every, learner, hooks)
    prepared, known = _prepared(parts, names, hooks=hooks)
    most = _most(frames, source)
    shown = islice(fitted(open_source(source, pace=False, loop=False), prepared.parts.image[1:]), most)
    with telling("first frame", total=most) as told:
        found = compare(prepared, shown, settings, hooks=known, advance=told.advance)
    if not as_json:
        base = found[0]
        for row in found:
            mean, p95 = row.mean_s / base.mean_s, row.p95_s / base.p95_s
            click.echo(f"{row.arm:12} mean {1e3 * row.mean_s:7.2f} ms ({mean:4.2f})  p95 {1e3 * row.p95_s:7.2f} ms "
                       f"({p95:4.2f})  agreement {row.agreement:.3f}  score {row.score:.3f}")  # fmt: skip
    return {"source": source, "threads": threads, "arms": plain(found)}


def _settings(
    mode: str, threads: int, key_every: int = 50, learner: str | None = None, hooks: Path | None = None
) -> "DynamicSettings":
    from nestevo_hw.base.documents import parse
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.terminals.dynamic.config import DynamicSettings

    if learner is not None and hooks is None:
        raise ConfigError("--learner needs --hooks, which `nestevo-hw dynamic profile` fits")
    learning = {} if learner is None else {"learner": learner}
    document = {"mode": mode, "threads": threads, "key_every": key_every, "hooks": learning}
    return parse(document, DynamicSettings, "the options")


def _fitted_hooks(model: "DynamicModel", source: str, most: int | None, path: Path) -> dict[str, Any] | None:
    """Fit hooks, write them, and say what they are; None, and nothing is written, where no way saves time."""
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.terminals.dynamic.hooks.calibrating import fit_hooks
    from nestevo_hw.terminals.dynamic.hooks.ways import save
    from nestevo_hw.terminals.source import open_source

    with telling("frames to fit on", total=None) as told:
        found = fit_hooks(model, open_source(source, pace=False, loop=False), most=most, advance=told.advance)
    if found is None:
        return None
    save(found, path)
    agreed = found.agreed.mean(0).tolist()
    return {
        "after": found.after,
        "rungs": [{"ways": rung, "agreement": f1} for rung, f1 in zip(found.rungs, agreed, strict=True)],
    }


def _prepared(
    parts: Path, names: str | None, *, join: bool = True, hooks: Path | None = None
) -> "tuple[Prepared, Hooks | None]":
    """The stages of a path, and the hooks of a file for it.

    Args:
        parts: their folder.
        names: of the path's branches; None: the base.
        join: make blocks of a detector up to one that its pyramid, or a hook, reads one stage.
        hooks: their file.
    """
    from nestevo_hw.models.elastic.parts import read_parts
    from nestevo_hw.terminals.dynamic.hooks.ways import load
    from nestevo_hw.terminals.dynamic.preparing import prepare

    manifest = read_parts(parts)
    path = _path_of(names, manifest.space)
    known = None if hooks is None else load(hooks, manifest, path)
    join, cut = join and manifest.kind == "detection", known.after if known else ""
    return prepare(parts, manifest, path, join=join, cut=cut), known


def _path_of(names: str | None, space: "PathSpace") -> "BranchPath":
    from nestevo_hw.base.errors import ConfigError

    if names is None:
        return space.base
    known = {branch.name: branch for branch in space.branches}
    wanted = [name.strip() for name in names.split("+")]
    path = tuple(known[name] for name in wanted if name in known)
    if len(path) < len(wanted) or not space.holds(path):
        there = ", ".join(known)
        raise ConfigError(f"--path: {names[:60]!r} is no path through {space.blocks} blocks; branches are {there}")
    return path


def _most(frames: int | None, source: str) -> int | None:
    return frames if frames is not None or "://" not in source else _LIVE_FRAMES


def _whole_stages(model: "DynamicModel") -> dict[str, str]:
    return {stage.name: stage.model.why_whole for stage in model.chain.stages if stage.model.why_whole}


def _show_profile(found: "ProfileSummary", document: dict[str, Any]) -> None:
    def ms(value: float | None) -> str:
        return "-" if value is None else f"{1e3 * value:.2f}"

    threshold = document["threshold"]
    noise = "not known yet" if threshold is None else f"{threshold:.1f} of 255"
    reasons = ", ".join(f"{count} {name}" for name, count in found.reasons.items())
    click.echo(f"{found.frames} frames: {reasons}; frame {ms(found.frame_s)} ms, the whole model {ms(found.fused_s)} "
               f"ms, gate {ms(found.gate_s)} ms, noise threshold {noise}")  # fmt: skip
    if found.rungs:
        click.echo(
            "  in cheaper ways: " + ", ".join(f"{count} frames by {name}" for name, count in found.rungs.items())
        )
    for stage in found.stages:
        did = ", ".join(f"{count} {name}" for name, count in stage.actions.items())
        share = "-" if stage.share is None else f"{100 * stage.share:.0f} %"
        click.echo(f"  {stage.name:12} dense {ms(stage.dense_s):>6} ms  now {ms(stage.seconds):>6} ms  "
                   f"p95 {ms(stage.p95_s):>6} ms  of its input {share:>5}  {did}")  # fmt: skip
    for name, why in document["whole"].items():
        click.echo(f"  {name} is never run on a part: {why}")
    _show_hooks(document)
    exits = document.get("exits", {})
    if "exits" in document and not exits:
        click.echo("  no stage answers early often enough as the model does; give more frames or a lower --agreement")
    for name, entropy in exits.items():
        click.echo(f"  early exit after {name} below {entropy:.3f} nats")


def _show_hooks(document: dict[str, Any]) -> None:
    if "hooks" in document and document["hooks"] is None:
        click.echo("  no cheaper way through a stage saves time: no hooks are written")
    for rung in (document.get("hooks") or {}).get("rungs", []):
        ways = ", ".join(f"{stage} {way}" for stage, way in rung["ways"].items())
        click.echo(f"  hook after {document['hooks']['after']}, agreement {rung['agreement']:.3f}: {ways}")
