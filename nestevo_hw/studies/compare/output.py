"""The files of a comparison."""

from pathlib import Path

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.files import write_text
from nestevo_hw.pages.style import LIGHT, save_png
from nestevo_hw.studies.compare.document import document_of
from nestevo_hw.studies.compare.page import page_text
from nestevo_hw.studies.compare.plots import draw_overview
from nestevo_hw.studies.compare.results import Comparison


def write_comparison(found: Comparison, folder: Path) -> list[str]:
    """Write comparison.json, comparison.png and comparison.html; returns their names."""
    write_json(folder / "comparison.json", document_of(found))
    save_png(draw_overview(found, LIGHT), folder / "comparison.png")
    write_text(folder / "comparison.html", page_text(found))
    return ["comparison.json", "comparison.png", "comparison.html"]
