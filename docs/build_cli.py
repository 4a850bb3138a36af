"""Writes docs/cli.md, the command line reference, from the commands' own --help; --check only compares."""

import sys
from pathlib import Path

import click

from nestevo_hw.cli import main
from nestevo_hw.files import write_text

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line reference

Generated from `--help` by `make docs`; do not edit.
"""


def reference() -> str:
    """The page: the group's help, then each command's."""
    context = _context(main, None)
    parts = [HEAD, _section("nestevo-hw", context)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if command is not None and not command.hidden:
            parts.append(_section(f"nestevo-hw {name}", _context(command, context)))
    return "\n".join(parts)


def _context(command: click.Command, parent: click.Context | None) -> click.Context:
    # Without a fixed width the page would depend on the terminal it is built in.
    name = "nestevo-hw" if parent is None else command.name
    settings = command.context_settings
    return click.Context(command, parent, name, terminal_width=100, max_content_width=100, **settings)


def _section(title: str, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{context.get_help().rstrip()}\n```\n"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != reference():
            sys.exit(f"{PAGE} is not what --help says: run `make docs`")
    else:
        write_text(PAGE, reference())
        print(f"Wrote {PAGE}")
