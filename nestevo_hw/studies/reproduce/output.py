"""The files of a reproduction, and what it says on the console."""

from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import read_json, write_json
from nestevo_hw.base.files import write_text
from nestevo_hw.pages.style import LIGHT, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.reproduce.page import page_text
from nestevo_hw.studies.reproduce.plots import draw_all
from nestevo_hw.studies.reproduce.results import Reproduction
from nestevo_hw.studies.reproduce.wording import caution, conclusion, figures_table, item_lines

DOCUMENT, PICTURE, PAGE = "reproduction.json", "reproduction.png", "reproduction.html"


def write_reproduction(found: Reproduction, folder: Path) -> list[str]:
    """Write the picture, the page and, when all else is there, the document; returns their names."""
    save_png(draw_all(found, LIGHT), folder / PICTURE)
    write_text(folder / PAGE, page_text(found))
    write_json(folder / DOCUMENT, found.document())
    return [DOCUMENT, PICTURE, PAGE]


def written_items(folder: Path) -> list[str]:
    """Names of the items on the page that stands in a folder; none where there is none.

    Raises:
        InputError: its document is damaged.
    """
    if not (folder / DOCUMENT).is_file():
        return []
    known = read_json(folder / DOCUMENT, dict[str, Any], advice="delete it, and name all items")
    return [str(item["name"]) for item in known.get("items", ())]


def console_blocks(found: Reproduction) -> list[Table | str]:
    """A table and its lines for every item, and the conclusion."""
    blocks: list[Table | str] = []
    for each in found.found:
        blocks += [figures_table(each), *item_lines(each), ""]
    return [*blocks, conclusion(found), *filter(None, [caution(found)])]
