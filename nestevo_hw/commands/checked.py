"""What `--check` of a run or a server says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.commands.options import warn

if TYPE_CHECKING:
    from nestevo_hw.evolution.config import RunConfig


def found_right(settings: "RunConfig", warnings: Sequence[str], *, quiet: bool) -> dict[str, Any]:
    """Say that nothing wrong was found, after what should be looked at; nothing where `quiet`."""
    labeller = settings.teacher.labeller
    if not quiet:
        for line in warnings:
            warn(line)
        from nestevo_hw.pages.formats import counted

        terminals, windows = counted(len(settings.terminals), "terminal"), counted(settings.window.count, "window")
        labelled = "" if labeller is None else f", labelled by {labeller.file}"
        click.echo(f"nothing wrong found: {terminals}, {windows}{labelled}")
    return {
        "terminals": len(settings.terminals), "windows": settings.window.count, "warnings": list(warnings),
        "labeller": None if labeller is None else labeller.file,
    }  # fmt: skip
