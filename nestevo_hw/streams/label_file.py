"""Label files that the project writes: COCO JSON as `streams.annotations` reads it, with scores."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import write_json
from nestevo_hw.streams.sources import FrameSource

DIGITS, SCORE_DIGITS = 2, 4
"""Decimals of a box's sides in pixels, and of a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLabels:
    """Labels of one frame, of which those from `sure` on are unsure."""

    index: int
    """Position in the recording."""
    size: tuple[int, int]
    """(H, W) in pixels."""
    boxes: tuple[tuple[float, float, float, float], ...]
    """x1 y1 x2 y2 in pixels, by falling score."""
    labels: tuple[int, ...]
    """Class k is classes[k - 1]."""
    scores: tuple[float, ...]
    sure: int
    """How many are objects; the others are regions that score neither right nor wrong."""


def write_labels(
    path: Path,
    frames: Sequence[FrameLabels],
    classes: Sequence[str],
    recording: Path,
    source: FrameSource,
    info: Mapping[str, Any],
) -> None:
    """Write a label file, whole or not at all.

    Args:
        path: of the file; names in it lead from its folder to the recording.
        frames: in the order of the recording.
        classes: their names.
        recording: video or folder of images.
        source: its frames.
        info: where the labels are from, as JSON holds it.

    Raises:
        OutputError: it cannot be written.
    """
    where = Path(os.path.relpath(recording.resolve(), path.resolve().parent)).as_posix()
    video = not source.names
    annotations: list[dict[str, Any]] = []
    ignore: list[dict[str, Any]] = []
    for frame in frames:
        for row, (x1, y1, x2, y2) in enumerate(frame.boxes):
            width, height = round(x2 - x1, DIGITS), round(y2 - y1, DIGITS)
            into = annotations if row < frame.sure else ignore
            into.append({
                "id": len(into) + 1, "image_id": frame.index, "category_id": frame.labels[row],
                "bbox": [x1, y1, width, height], "area": round(width * height, DIGITS), "score": frame.scores[row],
                "iscrowd": int(into is ignore),
            })  # fmt: skip
    document = {
        "info": dict(info),
        "videos": [{"id": 1, "file_name": where}] if video else [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
        "images": [
            {"id": frame.index, "width": frame.size[1], "height": frame.size[0]}
            | (
                {"file_name": f"{recording.stem}-{frame.index:06d}", "frame_index": frame.index, "video_id": 1}
                if video
                else {"file_name": f"{where}/{source.names[frame.index]}"}
            )
            for frame in frames
        ],
        "annotations": annotations,
        "ignore": ignore,
    }
    write_json(path, document)
