"""Generated documentation must be current."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_command_line_reference_is_current():
    reference = runpy.run_path(str(DOCS / "build_cli.py"))["reference"]()
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert written == reference, "run `make docs`"


def test_no_example_lost_its_line_breaks():
    reference = runpy.run_path(str(DOCS / "build_cli.py"))["reference"]()
    assert "\\b" not in reference, "a raw docstring hides Click's \\b from Click"
