"""Writes what is generated: cli.md from --help, files.md from docstrings, and tables within pages; --check compares.

A page asks for a table of `tables.TABLES` by a line "<!-- generated: NAME -->"; it ends at the line "<!-- end -->".
"""

import ast
import re
import sys
from pathlib import Path

import click
from tables import TABLES

from nestevo_hw.base.files import write_text
from nestevo_hw.cli import main

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "nestevo_hw"
CLI_HEAD = """# Command line reference

Generated from `--help` by `make docs`; do not edit.

## Completion in a shell

Options and names of models, devices and chips are completed once one of these lines is in the shell's start-up file:

```text
eval "$(_NESTEVO_HW_COMPLETE=bash_source nestevo-hw)"    # ~/.bashrc
eval "$(_NESTEVO_HW_COMPLETE=zsh_source nestevo-hw)"     # ~/.zshrc
_NESTEVO_HW_COMPLETE=fish_source nestevo-hw | source     # ~/.config/fish/completions/nestevo-hw.fish
```
"""
FILES_HEAD = """# Files

Generated from the first line of each file by `make docs`; do not edit.
What the rooms are for: [architecture.md](architecture.md).
"""

_GENERATED = re.compile(r"(?<=<!-- generated: )([a-z-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def reference() -> str:
    """The page: the group's help, then each command's."""
    context = _context(main, None)
    parts = [CLI_HEAD, _section("nestevo-hw", context)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if command is None or command.hidden:
            continue
        own = _context(command, context)
        parts.append(_section(f"nestevo-hw {name}", own))
        if isinstance(command, click.Group):
            inner = command.commands.items()
            parts += [_section(f"nestevo-hw {name} {word}", _context(below, own)) for word, below in inner]
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


def with_tables(page: str) -> str:
    """The page with its tables as the code has them now."""
    return _GENERATED.sub(lambda match: match[1] + match[2] + TABLES[match[1]](), page)


def _pages() -> dict[Path, str]:
    """What each page should hold."""
    written = {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
    return {path: with_tables(text) for path, text in written.items()} | {
        DOCS / "cli.md": reference(),
        DOCS / "files.md": files(),
    }


if __name__ == "__main__":
    stale = {p: text for p, text in _pages().items() if not p.is_file() or p.read_text(encoding="utf-8") != text}
    if "--check" in sys.argv[1:] and stale:
        sys.exit(f"{' and '.join(p.name for p in stale)} in docs/: not what the code says; run `make docs`")
    for page, text in stale.items():
        write_text(page, text)
        print(f"Wrote {page}")
