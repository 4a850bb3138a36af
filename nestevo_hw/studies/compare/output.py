"""The files of a comparison."""

from pathlib import Path

from nestevo_hw.base.documents import write_json
from nestevo_hw.pages.shell import write_page
from nestevo_hw.pages.style import LIGHT, save_png
from nestevo_hw.studies.compare.document import document_of
from nestevo_hw.studies.compare.page import page_values
from nestevo_hw.studies.compare.plots import draw_overview
from nestevo_hw.studies.compare.results import Comparison


def write_comparison(found: Comparison, folder: Path) -> list[str]:
    """Write comparison.json, comparison.png and comparison.html; returns their names."""
    write_json(folder / "comparison.json", document_of(found))
    save_png(draw_overview(found, LIGHT), folder / "comparison.png")
    write_page(folder / "comparison.html", "comparison.html", page_values(found))
    return ["comparison.json", "comparison.png", "comparison.html"]
