"""`nestevo-hw elastic build`: a supernet from a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import BATCH_SIZE, STEPS, Range
from nestevo_hw.commands import completion
from nestevo_hw.commands.options import SEED_NUMBER, compute_option, machine_readable, warn, whole

if TYPE_CHECKING:
    from nestevo_hw.evolution.elastic.build import Built
    from nestevo_hw.evolution.elastic.training import Drawing
    from nestevo_hw.evolution.pretrain_frames import FrameSource
    from nestevo_hw.models.checkpoint import ModelSpec


@click.command("build", short_help="Make a supernet of a checkpoint.")
@click.argument("checkpoint", shell_complete=completion.checkpoints)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder for the supernet, its parts and held-out frames.")  # fmt: skip
@click.option("--factory", metavar="MODULE:NAME", help="Your own code that the checkpoint's model is made by.")
@click.option("--video", type=click.Path(path_type=Path), help="Labelled video (or folder of images) to learn from.")
@click.option("--labels", type=click.Path(path_type=Path), help="Labels of the video, as for pretrain.")
@click.option("--class-map", multiple=True, metavar="FROM=TO", help="Label file's class to model's class; repeatable.")
@click.option("--data", metavar="SOURCE", help="Images with a class each to learn from, as for pretrain.")
@click.option("--frames", type=whole(Range(20, 100_000)), default=1600, show_default=True,
              help="Of the embedded streams to learn from, about.")  # fmt: skip
@click.option("--merge", "spans", type=whole(Range(1, 3)), default=3, show_default=True,
              help="Merge up to so many blocks into one; 1 merges none.")  # fmt: skip
@click.option("--shrink", default="0.25,0.5", show_default=True, metavar="A,B,..",
              help="Rates at which a block is pruned; none merges only.")  # fmt: skip
@click.option("--distil-steps", type=whole(STEPS), default=400, show_default=True,
              help="Of learning what the base's blocks give.")  # fmt: skip
@click.option("--tune-steps", type=whole(STEPS), default=400, show_default=True, help="Of learning from labels.")
@click.option("--draw", "drawing", type=click.Choice(["paths", "branches"]), default="paths", show_default=True,
              help="In a step each path is as likely as any other, or each branch with a path through it.")  # fmt: skip
@click.option("--batch-size", type=whole(BATCH_SIZE), default=8, show_default=True, help="Frames of a step.")
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of frames, paths and training.")
@compute_option
@click.option("--resume", is_flag=True, help="Go on with the interrupted build in --out.")
@machine_readable
def build(
    checkpoint: str,
    *,
    out: Path,
    factory: str | None,
    video: Path | None,
    labels: Path | None,
    class_map: tuple[str, ...],
    data: str | None,
    frames: int,
    spans: int,
    shrink: str,
    distil_steps: int,
    tune_steps: int,
    drawing: "Drawing",
    batch_size: int,
    seed: int,
    device: str,
    resume: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Turn CHECKPOINT, a name or a .safetensors file, into a supernet of which every path is a model.

    The model has two or more of torchvision's BasicBlock, Bottleneck or InvertedResidual in a row; one that is made
    by your own code needs --factory. Beside each basic block come pruned ones, and blocks merged over two or three;
    all are fitted to what they replace, then trained on random paths, while the base stays as it is. The folder
    holds the supernet, its parts as ONNX files for a terminal, and held-out frames to search on. Killed, a build
    goes on with --resume and ends the same.

    \b
    Examples:
      nestevo-hw elastic build digits-mobilenet --out runs/elastic
      nestevo-hw elastic build fasterrcnn-resnet18-slim --out runs/elastic --frames 800 --shrink 0.5
      nestevo-hw elastic build own.safetensors --out runs/elastic --data images
      nestevo-hw elastic build mine.safetensors --out runs/elastic --factory mypackage.nets:resnet --data images
      nestevo-hw elastic build digits-mobilenet --out runs/elastic --resume
    """
    from dataclasses import replace

    from nestevo_hw.base.compute import compute_device
    from nestevo_hw.base.documents import plain
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.evolution.elastic.build import Build, ElasticConfig
    from nestevo_hw.evolution.rendering import side_by_side
    from nestevo_hw.models.checkpoint import check_origin, resolve_checkpoint
    from nestevo_hw.models.zoo import task_of

    base = resolve_checkpoint(checkpoint)
    spec = check_origin(base, factory, "--factory")
    if factory is not None and not spec.is_own:
        raise ConfigError(f"--factory is for a checkpoint of your own code, which {base.name} is not; leave it out")
    plan = ElasticConfig(
        task=task_of(spec.build()), seed=seed, spans=tuple(range(2, spans + 1)), rates=_rates(shrink), drawing=drawing
    )
    plan = replace(
        plan,
        distil=replace(plan.distil, steps=distil_steps, batch_size=batch_size),
        tune=replace(plan.tune, steps=tune_steps, batch_size=batch_size),
    )
    source = _source(plan.task, spec, video, labels, class_map, data=data, frames=frames, seed=seed)
    building = Build(base=base, source=source, out=out, config=plan, device=compute_device(device))
    with one_writer(out, resume=resume), telling("reading frames", total=4) as told:
        built = building.run(resume=resume, render=side_by_side(building.unfinished / "scenes"), tell=told.advance)
    if not as_json:
        _show(built, out)
    return {"out": str(out), **plain(built)}


def _rates(text: str) -> tuple[float, ...]:
    from nestevo_hw.base.errors import ConfigError

    try:
        rates = tuple(sorted({float(part) for part in text.split(",") if part.strip() not in ("", "none")}))
    except ValueError:
        rates = (-1.0,)
    if any(rate not in Range(0.01, 0.9) for rate in rates):
        raise ConfigError(f"--shrink: need rates from 0.01 to 0.9 separated by commas, or none, got {text[:40]!r}")
    return rates


def _source(
    task: str, spec: "ModelSpec", video: Path | None, labels: Path | None, class_map: tuple[str, ...], *,
    data: str | None, frames: int, seed: int,
) -> "FrameSource":  # fmt: skip
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.commands.data_options import class_map_of
    from nestevo_hw.evolution.pretrain_frames import PLACES, data_source, embedded_source, video_source

    size = (spec.min_size, spec.max_size)
    if (video is None) != (labels is None) or (video is not None and data is not None):
        raise ConfigError("--video goes with --labels, and neither with --data; correct the options")
    if (video is not None) == (task == "classification") and (video or data):
        raise ConfigError(f"this is a model for {task}; give --data for classes, --video and --labels for objects")
    if data is not None:
        return data_source(data, classes=spec.classes, size=size)
    if video is not None and labels is not None:
        return video_source(video, labels, class_map_of(class_map), long_side=spec.max_size, until=None,
                            classes=spec.classes, on_warning=warn)  # fmt: skip
    scenes = len(PLACES) * _VARIANTS
    return embedded_source(task, seed=seed, variants=_VARIANTS, frames_per_scene=-(-frames // scenes), size=size)


_VARIANTS = 10
"""Sceneries of each place."""


def _show(built: "Built", out: Path) -> None:
    from nestevo_hw.base.stats import or_nan

    click.echo(f"{built.blocks} blocks, {built.branches} branches, {built.paths} paths; "
               f"{built.size_ratio:.2f} times the size of the base")  # fmt: skip
    for stage in built.stages:
        base, *others = map(or_nan, stage.scores)
        mean = sum(others) / len(others)
        click.echo(
            f"{stage.name}: {built.metric} {mean:.3f} in the mean of {len(others)} random paths, the base {base:.3f}"
        )
    click.echo(f"Wrote {out / 'supernet.safetensors'}, parts/ and held-out.safetensors")
