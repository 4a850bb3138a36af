"""Writes the generated pages, cli.md from --help and files.md from docstrings; --check only compares."""

import ast
import sys
from pathlib import Path

import click

from nestevo_hw.base.files import write_text
from nestevo_hw.cli import main

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "nestevo_hw"
CLI_HEAD = """# Command line reference

Generated from `--help` by `make docs`; do not edit.
"""
FILES_HEAD = """# Files

Generated from the first line of each file by `make docs`; do not edit.
What the rooms are for: [architecture.md](architecture.md).
"""


def reference() -> str:
    """The page: the group's help, then each command's."""
    context = _context(main, None)
    parts = [CLI_HEAD, _section("nestevo-hw", context)]
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


def files() -> str:
    """The page: every file of the package under its folder, with the first line of its docstring."""
    parts = [FILES_HEAD]
    for folder in sorted({path.parent for path in PACKAGE.rglob("*.py")}):
        rows = [f"| `{path.name}` | {_summary(path)} |" for path in sorted(folder.glob("*.py"))]
        title = folder.relative_to(PACKAGE.parent).as_posix()
        parts.append("\n".join([f"## {title}/", "", "| file | what |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return text.partition("\n\n")[0].replace("\n", " ") if text else ""


if __name__ == "__main__":
    pages = {DOCS / "cli.md": reference(), DOCS / "files.md": files()}
    if "--check" in sys.argv[1:]:
        stale = [p.name for p, text in pages.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
        if stale:
            sys.exit(f"{' and '.join(stale)} in docs/: not what the code says; run `make docs`")
    else:
        for page, text in pages.items():
            write_text(page, text)
            print(f"Wrote {page}")
