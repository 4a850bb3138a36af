"""`nestevo-hw pretrain`: make a teacher and its pruned terminals."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import STEPS, Range
from nestevo_hw.commands.options import SEED_NUMBER, WORKERS, NameOrOwn, compute_option, machine_readable, warn, whole
from nestevo_hw.tasks.names import TASK_NAMES, TASKS

if TYPE_CHECKING:
    from nestevo_hw.base.compute import Precision
    from nestevo_hw.evolution.pretrain_frames import FrameSource
    from nestevo_hw.evolution.pretrain_job import PretrainConfig


@click.command(short_help="Train a teacher and its pruned terminals.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for checkpoints.")
@click.option("--video", type=click.Path(path_type=Path), help="Labelled video (or folder of images) to learn from.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Labels of the video: COCO or BDD100K JSON, or a folder of Pascal VOC or YOLO files (docs/real-video.md).",
)
@click.option("--class-map", multiple=True, metavar="FROM=TO", help="Label file's class to model's class; repeatable.")
@click.option("--until", type=whole(Range(1, 1_000_000_000)), help="Use only the video's frames before this one.")
@click.option("--long-side", type=whole(Range(64, 4096)), default=320, show_default=True, help="Of the video, pixels.")
@click.option("--data", metavar="SOURCE", help="Images with a class each to learn from: a folder of class folders, an "
              ".npz with arrays x and y, or package.module:loader (docs/your-task.md).")  # fmt: skip
@click.option("--classes", metavar="A,B,..", help="Of --data, in the order of its labels.  [default: names of the "
              "folders, or numbers]")  # fmt: skip
@click.option(
    "--size",
    metavar="HEIGHTxWIDTH",
    help="Of the frames: embedded streams are rendered at it, images of --data "
    "stretched to it.  [default: of the task, or of the first image]",
)
@click.option("--frames", type=whole(Range(1, 100_000)), help="Of the embedded streams to learn from, about; they come "
              "from 160 scenes.  [default: 3200]")  # fmt: skip
@click.option("--task", type=NameOrOwn(TASK_NAMES), default=TASK_NAMES[0], show_default=True,
              help="; ".join(f"{name}: {what}" for name, what in TASKS.items()) + ".")  # fmt: skip
@click.option("--from", "start", metavar="CHECKPOINT",
              help="Start the teacher from this shipped name or file, which may be a bare state dict (.pt), or "
              "from coco: torchvision's weights, which are fetched.  [default: fresh weights]")  # fmt: skip
@click.option("--new-classes", is_flag=True, help="Start the last layer of --from afresh, for other classes.")
@click.option(
    "--model",
    help="Architecture of the teacher, or package.module:factory of your own, which is "
    "called with num_classes (docs/your-task.md).  [default: that of the task's shipped models]",
)
@click.option(
    "--steps",
    type=whole(Range(0, 1_000_000)),
    help="Optimiser steps of the teacher; 0 takes it as --from has it.  [default: as shipped]",
)
@click.option("--terminal-steps", type=whole(STEPS), help="Steps of each terminal.  [default: as shipped]")
@click.option("--patience", type=whole(STEPS), metavar="STEPS",
              help="End a training after so many steps without a better score on the held-out frames, and keep its "
              "best weights; they are scored every 100.  [default: go on to the end]")  # fmt: skip
@click.option("--teacher-only", is_flag=True, help="Prune no terminals from the teacher.")
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Seed of frames, weights and training.")
@click.option("--workers", type=WORKERS, default=2, show_default=True, help="Terminals at a time.")
@compute_option
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
              help="Of products in training; weights and losses stay float32.")  # fmt: skip
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
    data: str | None,
    classes: str | None,
    size: str | None,
    frames: int | None,
    task: str,
    start: str | None,
    new_classes: bool,
    model: str | None,
    steps: int | None,
    terminal_steps: int | None,
    patience: int | None,
    teacher_only: bool,
    seed: int,
    workers: int,
    device: str,
    precision: "Precision",
    resume: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Train a teacher and its pruned terminals M1, M2, M3 on labelled frames.

    Without --video or --data it learns from the embedded streams by day: so the shipped checkpoints were made.
    A training keeps its state every 50 steps, so a killed one goes on with --resume and ends with the same checkpoints.

    \b
    Examples:
      nestevo-hw pretrain --out checkpoints
      nestevo-hw pretrain --out checkpoints --task classification --steps 1500
      nestevo-hw pretrain --out checkpoints --video clip.mp4 --labels clip.json --until 400 --class-map person=person
      nestevo-hw pretrain --out tuned --from fasterrcnn-tiny --steps 400 --patience 200
      nestevo-hw pretrain --out coco --from coco --model fasterrcnn-mobilenet-v3 --video clip.mp4 --labels clip.json
      nestevo-hw pretrain --out checkpoints --task classification --model nets:small --data images
      nestevo-hw pretrain --out given --task classification --model nets:small --data images --from net.pt --steps 0
      nestevo-hw pretrain --out checkpoints --resume
    """
    from dataclasses import replace

    from nestevo_hw.base.compute import compute_device, device_name
    from nestevo_hw.base.documents import plain
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.locking import one_writer
    from nestevo_hw.commands.progress import telling
    from nestevo_hw.evolution.pretrain import check_architecture, check_pretraining, classes_of
    from nestevo_hw.evolution.pretrain import pretrain as run
    from nestevo_hw.evolution.pretrain_frames import PLACES
    from nestevo_hw.evolution.pretrain_job import PretrainConfig
    from nestevo_hw.models.checkpoint import ModelSpec, resolve_checkpoint
    from nestevo_hw.models.coco import COCO, coco_weights
    from nestevo_hw.tasks.capabilities import counts_background
    from nestevo_hw.tasks.named import task_named

    computing = compute_device(device)
    plan = PretrainConfig.shipped(task, seed=seed)
    plan = replace(
        plan,
        given=steps == 0,
        new_classes=new_classes or start == COCO,
        patience=patience,
        precision=precision,
        teacher=replace(plan.teacher, steps=steps or plan.teacher.steps),
        terminal=replace(plan.terminal, steps=terminal_steps or plan.terminal.steps),
    )
    if plan.given and start is None:
        raise ConfigError("--steps 0 takes the teacher as it is; give it with --from")
    if new_classes and start is None:
        raise ConfigError("--new-classes is for --from; leave it out, or give one")
    if plan.given and plan.new_classes:
        raise ConfigError("--steps 0 takes the teacher as it is, so its last layer cannot start afresh; leave one out")
    if data is None and classes is not None:
        raise ConfigError("--classes is for --data; leave it out, or give it")
    if video is not None and size is not None:
        raise ConfigError("--size is not for --video, which --long-side scales; leave it out")
    if frames is not None and (video is not None or data is not None):
        raise ConfigError("--frames is for the embedded streams; leave it out beside --video and --data")
    if frames is not None:
        plan = replace(plan, frames_per_scene=-(-frames // (len(PLACES) * plan.variants)))
    if data is not None and (video is not None or labels is not None or class_map or until is not None):
        raise ConfigError("--video, --labels, --class-map and --until are of a video; leave them out beside --data")
    architecture = model or task_named(task).embedded.architecture
    given = None if start is None else coco_weights(architecture) if start == COCO else resolve_checkpoint(start)
    if given is not None:
        check_architecture(given, architecture)
    known = None if given is None or plan.new_classes else classes_of(given)
    source = (
        _source(plan, video, labels, class_map, until=until, long_side=long_side, size=size, known=known)
        if data is None
        else _source_of_data(plan, data, classes, size)
    )
    spec = ModelSpec(
        architecture=architecture,
        classes=source.classes,
        min_size=min(source.size),
        max_size=max(source.size),
        background=counts_background(task_named(task)),
    )
    check_pretraining(spec, task, given, source.size, teacher_only=teacher_only, new_classes=plan.new_classes)
    with (
        one_writer(out, resume=resume),
        telling("reading frames", total=2 if teacher_only else 5) as told,
    ):
        scores = run(
            spec, source, out, plan,
            start=given, resume=resume, device=str(computing), workers=workers,
            teacher_only=teacher_only, advance=told.advance, on_steps=told.say,
        )  # fmt: skip
    if not as_json:
        _tell(scores, out)
        click.echo(f"computed on {device_name(computing)}")
    return {
        "out": str(out),
        "seed": seed,
        "frames": source.count,
        "device": device_name(computing),
        "scores": plain(scores, nan_to_null=True),
    }


def _tell(scores: Mapping[str, Mapping[str, float]], out: Path) -> None:
    from nestevo_hw.evolution.held_out import weak_teacher
    from nestevo_hw.pages.formats import metric_text
    from nestevo_hw.tasks.task import headline

    for written, score in scores.items():
        metric, value = next(iter(score.items()))
        click.echo(f"{out / written}.safetensors  {metric_text(metric)} {value:.3f} on held-out frames")
    if doubt := weak_teacher({name: headline(found) for name, found in scores.items()}):
        warn(doubt)


def _source(
    plan: "PretrainConfig", video: Path | None, labels: Path | None, class_map: tuple[str, ...], *,
    until: int | None, long_side: int, size: str | None, known: tuple[str, ...] | None,
) -> "FrameSource":  # fmt: skip
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.base.sizes import parse_size
    from nestevo_hw.commands.data_options import class_map_of
    from nestevo_hw.evolution.pretrain_frames import embedded_source, video_source

    if video is None:
        if labels is not None or class_map or until is not None:
            raise ConfigError("--labels, --class-map and --until are for --video; leave them out, or give one")
        return embedded_source(
            plan.task, seed=plan.seed, variants=plan.variants, frames_per_scene=plan.frames_per_scene,
            size=None if size is None else parse_size(size),
        )  # fmt: skip
    if plan.task == "classification":
        raise ConfigError("--video is for detection; classification learns from --data or its embedded stream")
    if labels is None:
        raise ConfigError("--video needs --labels: pre-training is supervised")
    mapping = class_map_of(class_map)
    return video_source(video, labels, mapping, long_side=long_side, until=until, classes=known, on_warning=warn)


def _source_of_data(
    plan: "PretrainConfig", data: str, classes: str | None, size: str | None
) -> "FrameSource":  # fmt: skip
    from nestevo_hw.base.errors import ConfigError, InputError
    from nestevo_hw.base.sizes import parse_size
    from nestevo_hw.commands.data_options import named_classes
    from nestevo_hw.evolution.pretrain_frames import data_source

    if plan.task == "detection":
        raise ConfigError("--data has one class an image and no boxes; add --task classification, or give --video")
    sides = None if size is None else parse_size(size)
    names = named_classes(classes)
    try:
        return data_source(data, classes=names, size=sides)
    except (ConfigError, InputError) as error:
        raise type(error)(f"--data: {error}") from error
