"""`nestevo-hw pretrain`: make a teacher and its pruned terminals."""

from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.ranges import STEPS, Range
from nestevo_hw.commands.options import SEED_NUMBER, WORKERS, machine_readable, warn, whole
from nestevo_hw.tasks.names import TASK_NAMES, TASKS


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for checkpoints.")
@click.option("--video", type=click.Path(path_type=Path), help="Labelled video (or folder of images) to learn from.")
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False), help="COCO-JSON labels of the video.")
@click.option("--class-map", multiple=True, metavar="FROM=TO", help="Label file's class to model's class; repeatable.")
@click.option("--until", type=whole(Range(1, 1_000_000_000)), help="Use only the video's frames before this one.")
@click.option("--long-side", type=whole(Range(64, 4096)), default=320, show_default=True, help="Of the video, pixels.")
@click.option("--task", type=click.Choice(TASK_NAMES), default=TASK_NAMES[0], show_default=True,
              help="; ".join(f"{name}: {what}" for name, what in TASKS.items()) + ".")  # fmt: skip
@click.option("--model", help="Architecture of the teacher.  [default: that of the task's shipped models]")
@click.option("--steps", type=whole(STEPS), help="Optimiser steps of the teacher.  [default: as shipped]")
@click.option("--terminal-steps", type=whole(STEPS), help="Steps of each terminal.  [default: as shipped]")
@click.option("--seed", type=SEED_NUMBER, default=0, show_default=True, help="Seed of frames, weights and training.")
@click.option("--workers", type=WORKERS, default=2, show_default=True, help="Terminals at a time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
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
    model: str | None,
    steps: int | None,
    terminal_steps: int | None,
    seed: int,
    workers: int,
    device: str,
    as_json: bool,
) -> dict[str, Any]:
    """Train a teacher and its pruned terminals M1, M2, M3 on labelled frames.

    Without --video it learns from the embedded streams by day, which is how the shipped checkpoints were made.

    \b
    Examples:
      nestevo-hw pretrain --out checkpoints
      nestevo-hw pretrain --out checkpoints --task classification --steps 1500
      nestevo-hw pretrain --out checkpoints --video clip.mp4 --labels clip.json --until 400 --class-map person=person
    """
    from dataclasses import replace

    from nestevo_hw.base.documents import plain
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.evolution import pretrain as room
    from nestevo_hw.evolution.training import training_device
    from nestevo_hw.models.checkpoint import ModelSpec
    from nestevo_hw.pages.formats import metric_text
    from nestevo_hw.tasks.named import task_named

    if video is not None and task != "detection":
        raise ConfigError(f"--video is for detection; {task} learns from its embedded stream")
    shipped = task_named(task).embedded
    plan = room.PretrainConfig.shipped(task, seed=seed)
    plan = replace(
        plan,
        teacher=replace(plan.teacher, steps=steps or plan.teacher.steps),
        terminal=replace(plan.terminal, steps=terminal_steps or plan.terminal.steps),
    )
    classes: tuple[str, ...]
    with progress_bar(5, "frames") as advance:
        if video is None:
            training, held_out, classes = room.embedded_frames(plan, shipped.frame_size)
        elif labels is None:
            raise ConfigError("--video needs --labels: pre-training is supervised")
        else:
            mapping = dict(_pair(text) for text in class_map)
            training, held_out, classes = room.video_frames(
                video, labels, mapping, long_side=long_side, until=until, on_warning=warn
            )
        height, width = training.images.shape[2:]
        spec = ModelSpec(
            architecture=model or shipped.architecture,
            classes=classes,
            min_size=min(height, width),
            max_size=max(height, width),
        )
        advance("training the teacher")
        scores = room.pretrain(
            spec, training, held_out, out, plan,
            device=training_device(device).type, workers=workers, on_task=lambda task: advance(f"{task.name} done"),
        )  # fmt: skip
    if not as_json:
        for written, score in scores.items():
            metric, value = next(iter(score.items()))
            click.echo(f"{out / written}.safetensors  {metric_text(metric)} {value:.3f} on held-out frames")
    return {"out": str(out), "seed": seed, "frames": len(training), "scores": plain(scores, nan_to_null=True)}


def _pair(text: str) -> tuple[str, str]:
    from nestevo_hw.base.errors import ConfigError

    source, equals, target = text.partition("=")
    if not (source and equals and target):
        raise ConfigError(f"--class-map takes FROM=TO, got {text!r}")
    return source, target
