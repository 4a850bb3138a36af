"""The page of a reproduction: one HTML file without anything outside it, in the style of a run's page."""

from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import THEMED, inline_svg
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.reproduce import wording
from nestevo_hw.studies.reproduce.plots import MARKS, draw_item
from nestevo_hw.studies.reproduce.results import Found, Reproduction


def page_text(found: Reproduction) -> str:
    """The HTML of a reproduction."""
    values = {
        "found": found,
        "lede": wording.conclusion(found),
        "caution": wording.caution(found),
        "overview": overview_table(found),
        "sections": [_section(each) for each in found.found],
        "marks": MARKS,
    }
    return render("reproduction.html", values)


def overview_table(found: Reproduction) -> Table:
    """One row an item: how many of the paper's claims hold here."""
    rows = []
    for each in found.found:
        verdicts = [one.verdict for one in each.judged]
        counts = (str(verdicts.count(v) or "") for v in ("agrees", "contradicts", "open"))
        rows.append((each.item.heading, each.item.title, each.item.origin, *counts))
    heads = ("item", "what it is about", "ours are", "claims that hold", "that do not", "open")
    return Table(heads=heads, rows=rows)


def _section(found: Found) -> dict[str, object]:
    item = found.item
    facts = [
        ("the paper", item.says),
        ("ours", item.how),
        *(("contradicts the paper", line) for line in found.against),
        *([("not reproduced", item.lacks)] if item.lacks else []),
        *([("without a figure", ", ".join(found.left_out))] if found.left_out else []),
    ]
    return {
        "heading": f"{item.heading}: {item.title}",
        "origin": item.origin,
        "facts": facts,
        "claims": wording.claims_table(found) if item.claims else None,
        "figures": wording.figures_table(found),
        "svg": inline_svg(draw_item(found, THEMED)) if found.rows else None,
        "name": item.heading,
    }
