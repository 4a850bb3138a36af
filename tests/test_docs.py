"""Generated documentation must be current."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_generated_pages_are_current():
    # A process of its own: Click remembers a command's help option from where it was first invoked.
    command = [sys.executable, str(DOCS / "build.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_example_lost_its_line_breaks():
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert "\\b" not in written, "a raw docstring hides Click's \\b from Click"


def test_no_list_of_commands_is_cut():
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    lists = [part.split("```")[0] for part in written.split("\nCommands:\n")[1:]]
    assert len(lists) >= 3
    assert not [line for part in lists for line in part.splitlines() if line.endswith("...")]
