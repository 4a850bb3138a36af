"""What commands share: --json, --debug, errors as one clear line, and options with names from tables."""

import functools
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from nestevo_hw.base.errors import ConfigError, NestEvoError
from nestevo_hw.base.text import one_line
from nestevo_hw.crossbar.devices import PRESETS

Command = Callable[..., dict[str, Any] | None]

device_option = click.option(
    "--device", default="pcm", show_default=True, help=f"Of the crossbar: {', '.join(PRESETS)}."
)


def machine_readable(command: Command) -> Callable[..., None]:
    """Add --json and --debug to a command body.

    The body returns its machine-readable document and prints its human-readable one only when its
    `as_json` argument is false. Expected failures become one line on stderr: exit code 2 for a
    ConfigError, 1 for any other NestEvoError or OSError; --debug shows the traceback instead.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else.")
    @click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
    @functools.wraps(command)
    def run(*args: object, as_json: bool, debug: bool, **options: object) -> None:
        try:
            document = command(*args, as_json=as_json, **options)
        except (NestEvoError, OSError) as error:
            if debug:
                raise
            _report(error, as_json=as_json)
            sys.exit(2 if isinstance(error, ConfigError) else 1)
        if as_json and document is not None:
            from nestevo_hw.base.documents import json_text

            click.echo(json_text(document))

    return run


def listed(title: str, meanings: Mapping[str, str]) -> str:
    """Names and what they mean, as the end of a command's help; lines stay as they are."""
    width = max(map(len, meanings)) + 2
    return "\n".join(["\b", f"{title}:", *(f"  {name:<{width}}{text}" for name, text in meanings.items())])


def _report(error: Exception, *, as_json: bool) -> None:
    message = one_line(str(error))
    if as_json:
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": message}}), err=True)
    else:
        click.echo(f"Error: {message}", err=True)
