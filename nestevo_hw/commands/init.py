"""`nestevo-hw init`: write a commented configuration."""

import os
from pathlib import Path
from typing import Any

import click

from nestevo_hw.commands.options import machine_readable


@click.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=Path("evolve.toml"))
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    help="quick (two CPU cores), digits (classification), paper (a GPU, own videos) or paper-embedded (a GPU, rendered "
    "streams).",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@machine_readable
def init(path: Path, *, preset: str, force: bool, as_json: bool) -> dict[str, Any]:
    """Write a commented configuration for `evolve` to PATH (default evolve.toml).

    \b
    Example:
      nestevo-hw init evolve.toml
      nestevo-hw evolve evolve.toml
    """
    from nestevo_hw.evolution.presets import preset_text

    write_new(path, preset_text(preset), force=force)
    if not as_json:
        click.echo(f"Wrote {path}. Run it with: nestevo-hw evolve {path}")
    return {"path": str(path), "preset": preset}


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
