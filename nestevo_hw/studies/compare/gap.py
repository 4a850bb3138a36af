"""Where the gap between a teacher's labels and true ones is, camera by camera: one thing changed at a time."""

from typing import Any

from nestevo_hw.base.stats import Estimate
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.results import Comparison, of_terminal
from nestevo_hw.studies.compare.table import apart, level
from nestevo_hw.studies.compare.variants import GAP, NESTEVO, TERMINALS_ONLY, TRUE_LABELS

CAUSES = {
    "labels-completed": "missed objects labelled",
    "labels-cleaned": "wrong labels left out",
    "labels-placed": "right labels on their objects",
    "hard-labels": "no soft targets",
    TRUE_LABELS: "the whole truth in place of labels",
    "twice-the-frames": "twice the frames",
    "twice-the-steps": "twice the steps",
    "unpruned": "an unpruned model",
    NESTEVO: "a teacher that evolves (NestEvo)",
}
"""What is changed, by variant."""


def splits_gap(found: Comparison) -> bool:
    """Whether a part of the gap ran, and what it is compared with."""
    return found.has(TERMINALS_ONLY) and any(found.has(variant.name) for variant in GAP)


def gap_table(found: Comparison) -> Table:
    """What each change adds to each camera, paired by seed."""
    places = _places(found)
    rows: list[tuple[str, ...]] = [
        ("as it is", *(level(measures.after(found, TERMINALS_ONLY, where)) for where in places.values()))
    ]
    rows += [
        (text, *(apart(_apart(found, name, where)) for where in places.values()))
        for name, text in CAUSES.items() if found.has(name)
    ]  # fmt: skip
    title = f"{TERMINALS_ONLY}, and what one change adds to it, paired by seed, ±95 %"
    return Table(heads=("change", *places), rows=rows, title=title)


def gap_document(found: Comparison) -> dict[str, Any]:
    """The same as JSON values, by variant and terminal."""
    return {
        name: {place: _apart(found, name, where).document() for place, where in _places(found).items()}
        for name in CAUSES if found.has(name)
    }  # fmt: skip


def _apart(found: Comparison, name: str, where: measures.Where) -> Estimate:
    return measures.difference(found, name, TERMINALS_ONLY, where)


def _places(found: Comparison) -> dict[str, measures.Where]:
    """Windows of each terminal by its heading, and all of them."""
    return {**{name: of_terminal(found, name) for name in found.terminals}, "all cameras": None}
