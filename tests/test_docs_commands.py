"""Every command line in README, docs and examples parses, and links lead somewhere."""

import re
import shlex
from pathlib import Path

import click
import pytest

from nestevo_hw.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").glob("*.toml"))]


def command_lines():
    for page in PAGES:
        text = re.sub(r"\\\n[#\s]*", " ", page.read_text())
        for line in text.splitlines():
            found = re.match(r"^(?:#\s*|\s*)nestevo-hw ([a-z].*)$", line)
            if found and page.name != "cli.md":
                yield pytest.param(shlex.split(found[1], comments=True), id=f"{page.name}: {found[1][:50]}")


@pytest.mark.parametrize("words", list(command_lines()))
def test_command_lines_parse(words):
    """Options and their values must be right; files of the reader's may be missing."""
    command, rest = main.commands[words[0]], list(words[1:])
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    command.make_context(words[0], rest)


def test_there_are_command_lines_to_check():
    assert len(list(command_lines())) >= 12


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(((?!http)[^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
