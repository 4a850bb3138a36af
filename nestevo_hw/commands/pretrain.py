"""`nestevo-hw pretrain`: make a teacher and its pruned terminals."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import STEPS, Range
from nestevo_hw.commands.options import SEED_NUMBER, WORKERS, machine_readable, warn, whole
from nestevo_hw.tasks.names import TASK_NAMES, TASKS

if TYPE_CHECKING:
    from nestevo_hw.evolution.pretrain_frames import FrameSource
    from nestevo_hw.evolution.pretrain_job import PretrainConfig


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for checkpoints.")
@click.option("--video", type=click.Path(path_type=Path), help="Labelled video (or folder of images) to learn from.")
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False), help="COCO-JSON labels of the video.")
@click.option("--class-map", multiple=True, metavar="FROM=TO", help="Label file's class to model's class; repeatable.")
@click.option("--until", type=whole(Range(1, 1_000_000_000)), help="Use only the video's frames before this one.")
@click.option("--long-side", type=whole(Range(64, 4096)), default=320, show_default=True, help="Of the video, pixels.")
@click.option("--task", type=click.Choice(TASK_NAMES), default=TASK_NAMES[0], show_default=True,
              help="; ".join(f"{name}: {what}" for name, what in TASKS.items()) + ".")  # fmt: skip
@click.option("--from", "start", metavar="CHECKPOINT",
              help="Start the teacher from this shipped name or file.  [default: fresh weights]")  # fmt: skip
@click.option("--model", help="Architecture of the teacher.  [default: that of the task's shipped models]")
@click.option("--steps", type=whole(STEPS), help="Optimiser steps of the teacher.  [default: as shipped]")
@click.option("--terminal-steps", type=whole(STEPS), help="Steps of each terminal.  [default: as shipped]")
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Seed of frames, weights and training.")
@click.option("--workers", type=WORKERS, default=2, show_default=True, help="Terminals at a time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the interrupted pre-training in --out.")
@machine_readable
def pretrain(
    *,
    out: Path,
    video: Path | None,
    labels: Path | None,
    class_map: tuple[str, ...],
    until: int | None,
    long_side: int,
    task: str,
    start: str | None,
    model: str | None,
    steps: int | None,
    terminal_steps: int | None,
    seed: int,
    workers: int,
    device: str,
    resume: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Train a teacher and its pruned terminals M1, M2, M3 on labelled frames.

    Without --video it learns from the embedded streams by day, which is how the shipped checkpoints were made.
    A training keeps its state every 50 steps, so a killed one goes on with --resume and ends with the same checkpoints.

    \b
    Examples:
      nestevo-hw pretrain --out checkpoints
      nestevo-hw pretrain --out checkpoints --task classification --steps 1500
      nestevo-hw pretrain --out checkpoints --video clip.mp4 --labels clip.json --until 400 --class-map person=person
      nestevo-hw pretrain --out tuned --from fasterrcnn-tiny --steps 400
      nestevo-hw pretrain --out checkpoints --resume
    """
    from dataclasses import replace

    from nestevo_hw.base.documents import plain
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.evolution.pretrain import check_pretraining
    from nestevo_hw.evolution.pretrain import pretrain as run
    from nestevo_hw.evolution.pretrain_job import PretrainConfig
    from nestevo_hw.evolution.training import training_device
    from nestevo_hw.models.checkpoint import ModelSpec, resolve_checkpoint
    from nestevo_hw.pages.formats import metric_text
    from nestevo_hw.tasks.named import task_named

    plan = PretrainConfig.shipped(task, seed=seed)
    plan = replace(
        plan,
        teacher=replace(plan.teacher, steps=steps or plan.teacher.steps),
        terminal=replace(plan.terminal, steps=terminal_steps or plan.terminal.steps),
    )
    source = _source(plan, video, labels, class_map, until=until, long_side=long_side)
    spec = ModelSpec(
        architecture=model or task_named(task).embedded.architecture,
        classes=source.classes,
        min_size=min(source.size),
        max_size=max(source.size),
    )
    given = None if start is None else resolve_checkpoint(start)
    check_pretraining(spec, task, given)
    with one_writer(out, resume=resume), progress_bar(5, "frames") as advance:
        scores = run(
            spec, source, out, plan,
            start=given, resume=resume, device=training_device(device).type, workers=workers, advance=advance,
        )  # fmt: skip
    if not as_json:
        for written, score in scores.items():
            metric, value = next(iter(score.items()))
            click.echo(f"{out / written}.safetensors  {metric_text(metric)} {value:.3f} on held-out frames")
    return {"out": str(out), "seed": seed, "frames": source.count, "scores": plain(scores, nan_to_null=True)}


def _source(
    plan: "PretrainConfig", video: Path | None, labels: Path | None, class_map: tuple[str, ...], *,
    until: int | None, long_side: int,
) -> "FrameSource":  # fmt: skip
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.evolution.pretrain_frames import embedded_source, video_source

    if video is None:
        if labels is not None or class_map or until is not None:
            raise ConfigError("--labels, --class-map and --until are for --video; leave them out, or give one")
        return embedded_source(
            plan.task, seed=plan.seed, variants=plan.variants, frames_per_scene=plan.frames_per_scene
        )
    if plan.task != "detection":
        raise ConfigError(f"--video is for detection; {plan.task} learns from its embedded stream")
    if labels is None:
        raise ConfigError("--video needs --labels: pre-training is supervised")
    mapping = dict(_pair(text) for text in class_map)
    return video_source(video, labels, mapping, long_side=long_side, until=until, on_warning=warn)


def _pair(text: str) -> tuple[str, str]:
    from nestevo_hw.base.errors import ConfigError

    source, equals, target = text.partition("=")
    if not (source and equals and target):
        raise ConfigError(f"--class-map takes FROM=TO, got {text!r}")
    return source, target
