"""`nestevo-hw init`: write a commented configuration."""

import os
from pathlib import Path
from typing import Any

import click

from nestevo_hw.base.text import pasteable
from nestevo_hw.commands import completion
from nestevo_hw.commands.options import machine_readable, warn


@click.command(short_help="Write a configuration, also for your own videos.")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=Path("evolve.toml"))
@click.option(
    "--preset",
    help="quick (two CPU cores), digits (classification), paper (a GPU, own videos) or paper-embedded (a GPU, rendered "
    "streams).  [default: quick]",
)
@click.option("--video", "videos", type=click.Path(path_type=Path), multiple=True,
              help="Recording of a terminal, a file or a folder of images; once for each.")  # fmt: skip
@click.option("--labels", type=click.Path(path_type=Path), multiple=True,
              help="Of the --video in the same place, or of all: COCO or BDD100K JSON, or a folder of Pascal VOC or "
              "YOLO files.")  # fmt: skip
@click.option("--models", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of `pretrain --out`.  [default: the shipped models]")  # fmt: skip
@click.option("--labeller", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.onnx",
              help="A detector of your own as the teacher (docs/label.md): it labels what cameras send, and only "
              "their models are trained.")  # fmt: skip
@click.option("--adapter", default="nanodet", show_default=True, metavar="NAME|FILE.toml",
              shell_complete=completion.adapters, help="What goes into the labeller and what comes out.")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@machine_readable
def init(
    path: Path, *, preset: str | None, videos: tuple[Path, ...], labels: tuple[Path, ...], models: Path | None,
    labeller: Path | None, adapter: str, force: bool, as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Write a commented configuration for `evolve` to PATH (default evolve.toml).

    With --video it fits your own recordings: windows, in-domain frames and classes are chosen by what is in them, and
    `evolve` runs it with nothing edited.

    \b
    Examples:
      nestevo-hw init evolve.toml
      nestevo-hw evolve evolve.toml
      nestevo-hw init mine.toml --video north.mp4 --labels north.json --video south.mp4 --labels south.json
      nestevo-hw init mine.toml --video north.mp4 --labeller nanodet.onnx
    """
    from nestevo_hw.base.errors import ConfigError
    from nestevo_hw.evolution.presets import preset_text

    if not videos:
        if labels or models is not None or labeller is not None:
            raise ConfigError("--labels, --models and --labeller are for --video; leave them out, or give one")
        write_new(path, preset_text(preset or "quick"), force=force)
        if not as_json:
            click.echo(f"Wrote {path}. Run it with: nestevo-hw evolve {pasteable(path)}")
        return {"path": str(path), "preset": preset or "quick"}
    if preset is not None:
        raise ConfigError("--preset is not for --video, whose configuration follows from the clips; leave it out")
    if len(labels) > 1 and len(labels) != len(videos):
        raise ConfigError(f"--labels: need one for each --video or one for all, got {len(labels)} for {len(videos)}")
    check_new(path, force=force)
    return _own(path, videos, labels, models, None if labeller is None else (labeller, adapter), force=force,
                quiet=as_json)  # fmt: skip


def _own(
    path: Path, videos: tuple[Path, ...], labels: tuple[Path, ...], models: Path | None,
    labeller: tuple[Path, str] | None, *, force: bool, quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    from nestevo_hw.commands.progress import telling

    with telling("loading libraries") as told:
        from nestevo_hw.evolution.own_config import Models, own_config
        from nestevo_hw.evolution.own_video import fit, look
        from nestevo_hw.evolution.run import checked

        warnings = list[str]()
        told.expect(2, "looking at the recordings")
        clips, plan = fit(look(videos, labels))
        told.advance("planned")
        chosen = Models.found(models) if labeller is None else Models.found(models).labelled_by(*labeller)
        text, config = own_config(clips, plan, chosen, path)
        checked(config, warnings.append)
    write_new(path, text, force=force)
    if not quiet:
        for line in warnings:
            warn(line)
        from nestevo_hw.pages.formats import counted

        window = (
            f"{counted(plan.windows, 'window')} of {plan.length_s:g} s, {plan.upload_frames} frames uploaded in each"
        )
        click.echo(
            f"Wrote {path}: {counted(len(clips), 'terminal')}, {window}. "
            f"Run it with: nestevo-hw evolve {pasteable(path)}"
        )
    return {
        "path": str(path), "windows": plan.windows, "length_s": plan.length_s, "warnings": warnings,
        "terminals": [{"name": t.name, "video": t.video, "labels": t.labels, "class_map": dict(t.class_map),
                       "start_frame": t.start_frame} for t in config.terminals],
    }  # fmt: skip


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file that is the user's from then on.

    Args:
        path: of the file.
        text: what to write.
        force: replace an ordinary file that is there.

    Raises:
        ConfigError: as `check_new`.
        OutputError: the file cannot be written.
    """
    from nestevo_hw.base.files import write_text

    check_new(path, force=force)
    write_text(path, text)


def check_new(path: Path, *, force: bool) -> None:
    """Refuse to write over what is there, unless it is an ordinary file and `force` says so.

    Raises:
        ConfigError: there is a file, or something that is never replaced.
    """
    from nestevo_hw.base.errors import ConfigError

    if os.path.lexists(path):
        if path.is_symlink() or not path.is_file():
            raise ConfigError(f"{path} is no ordinary file, so it is not replaced; choose another name")
        if not force:
            raise ConfigError(f"{path} exists; choose another name, or overwrite it with --force")
