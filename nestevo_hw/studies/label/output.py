"""What a labelling found, for people and for machines."""

from collections import Counter
from typing import Any

from nestevo_hw.base.documents import plain
from nestevo_hw.pages.formats import score
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.label.agreement import Agreement
from nestevo_hw.studies.label.labelling import Labelled


def counts(found: Labelled) -> dict[str, dict[str, int]]:
    """Labels and unsure regions of each class that has any."""
    sure = Counter(label for frame in found.frames for label in frame.labels[: frame.sure])
    unsure = Counter(label for frame in found.frames for label in frame.labels[frame.sure :])
    return {
        name: {"labels": sure[number], "unsure": unsure[number]}
        for number, name in enumerate(found.classes, start=1)
        if sure[number] or unsure[number]
    }


def document_of(found: Labelled) -> dict[str, Any]:
    """As `--json` prints it."""
    each = counts(found)
    return {
        "out": str(found.out),
        **{key: value for key, value in found.info.items() if key != "description"},
        "frames": len(found.frames),
        "damaged_frames": found.damaged,
        "labels": sum(one["labels"] for one in each.values()),
        "unsure_regions": sum(one["unsure"] for one in each.values()),
        "classes": each,
        "seconds_per_frame": found.seconds_per_frame,
        "agreement": None if found.agreement is None else plain(found.agreement),
    }


def counts_table(found: Labelled) -> Table:
    """Of the classes."""
    rows = [(name, str(one["labels"]), str(one["unsure"])) for name, one in counts(found).items()]
    return Table(heads=("class", "labels", "unsure regions"), rows=rows)


def agreement_table(found: Agreement) -> Table:
    """Per class, with the mean in the last line."""
    rows = [
        (one.name, str(one.objects), score(one.precision), str(one.labels.right), str(one.labels.wrong),
         str(one.labels.missed))
        for one in found.classes
    ]  # fmt: skip
    rows.append(("mean", "", score(found.map50), "", "", ""))
    note = f"; not known to the labeller: {', '.join(found.left_out)}" if found.left_out else ""
    return Table(
        heads=("class", "objects there", "mAP@0.50", "labels right", "labels wrong", "objects missed"), rows=rows,
        title=f"Agreement with {found.file} on {found.frames} frames{note}",
        note="mAP@0.50 counts detections of every score, the other columns the labels as written",
        marked=frozenset((len(rows) - 1,)),
    )  # fmt: skip


def sentence(found: Labelled) -> str:
    """What was written."""
    each = counts(found)
    labels, unsure = (sum(one[key] for one in each.values()) for key in ("labels", "unsure"))
    speed = "" if found.seconds_per_frame is None else f", {found.seconds_per_frame:.2f} s a frame"
    return f"Wrote {found.out}: {len(found.frames)} frames, {labels} labels, {unsure} unsure regions{speed}"
