"""Labels of a video or an image folder, from files of any format: what they hold, and what of it can be used."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.label_document import Box, Document, Image
from nestevo_hw.streams.label_formats import read_document
from nestevo_hw.streams.sources import FrameSource

EMPTY, OUTSIDE, REPEATED, CUT = "without area", "outside the frame", "given twice", "cut at the frame's edge"
"""What is done to a box: the first three are dropped."""
_LIST = 800
"""Length to which names are listed, characters."""
_SLACK = 1.0
"""How far a box may reach beyond its frame without a word, pixels: tools round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """Labels of one frame."""

    name: str
    """File name in the label file."""
    index: int | None
    """Position in the video, if the label file says it."""
    video: str
    """Name of its video, if the label file says it, else ""."""
    size: tuple[int, int]
    """(H, W) in pixels that the boxes refer to."""
    annotation: Annotation
    remarks: tuple[str, ...]
    """What was done to boxes: EMPTY, OUTSIDE, REPEATED or CUT for each."""
    left_out: tuple[str, ...]
    """The file's category of each box that the class map does not name."""

    def scaled_to(self, size: tuple[int, int]) -> Annotation:
        """Boxes for the frame resized to (H, W), clipped to it."""
        (height, width), (h, w) = self.size, size
        boxes = self.annotation.boxes * torch.tensor((w / width, h / height, w / width, h / height))
        boxes = torch.minimum(boxes.clamp(min=0.0), torch.tensor((w, h, w, h), dtype=torch.float32))
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Annotation(boxes=boxes[kept], labels=self.annotation.labels[kept], ignore=self.annotation.ignore[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLabels:
    """What a label file says, in its own pixels."""

    classes: tuple[str, ...]
    """Label k is classes[k - 1]."""
    images: tuple[LabelledImage, ...]
    videos: tuple[str, ...]
    """Names of the videos that it lists."""


def load_labels(
    path: Path,
    *,
    class_map: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    source: FrameSource | None = None,
) -> FrameLabels:
    """Read labels of any format of `label_formats`.

    Args:
        path: file or folder.
        class_map: the labels' category names to the model's class names; several may share one, and
            categories it does not name are left out. Without it, categories keep their names.
        classes: the model's classes in the order of its labels; without it, in order of first mention.
        source: frames that they belong to, for formats that do not say what size those have.

    Raises:
        InputError: the labels are missing, of no known format, or contradict themselves.
        ConfigError: the class map names a category or class that does not exist.
    """
    document = read_document(path, source)
    _check_references(path, document)
    _check_units(path, document)
    names = {c.id: c.name for c in document.categories}
    class_map = dict(class_map) if class_map else {name: name for name in names.values()}
    if classes is None:
        classes = tuple(dict.fromkeys(class_map.values()))
    label_of = _labels(path, names, class_map, classes)
    boxes: dict[int, list[tuple[Box, bool]]] = {image.id: [] for image in document.images}
    for box in document.annotations:
        boxes[box.image_id].append((box, bool(box.iscrowd)))
    for box in document.ignore:
        boxes[box.image_id].append((box, True))
    videos = {v.id: v.file_name or v.name or str(v.id) for v in document.videos}
    images = tuple(_image(i, videos, boxes[i.id], names, label_of) for i in document.images)
    return FrameLabels(classes=tuple(classes), images=images, videos=tuple(videos.values()))


def _labels(
    path: Path, names: Mapping[int, str], class_map: Mapping[str, str], classes: Sequence[str]
) -> dict[int, int]:
    """Category id to label, of the categories in use."""
    for source, target in class_map.items():
        if source not in names.values():
            raise ConfigError(f"class map: {path} has no category {source!r}, only {_some(names.values())}")
        if target not in classes:
            raise ConfigError(f"class map: no class {target!r} for {source!r}; choose from {', '.join(classes)}")
    return {id_: classes.index(class_map[name]) + 1 for id_, name in names.items() if name in class_map}


def _some(names: Iterable[str]) -> str:
    """A list of names that fits on a line."""
    text = ", ".join(names)
    return text if len(text) <= _LIST else f"{text[:_LIST]}.."


def _check_references(path: Path, document: Document) -> None:
    """Every id stands for one thing, and every thing that is referred to exists."""
    images, categories = {i.id for i in document.images}, {c.id for c in document.categories}
    for what, entries in (
        ("categories", document.categories), ("images", document.images), ("videos", document.videos),
        ("annotations", document.annotations), ("ignore", document.ignore),
    ):  # fmt: skip
        ids: Iterable[object] = (e.id for e in entries if e.id is not None)
        repeated = next((id_ for id_, count in Counter(ids).items() if count > 1), None)
        if repeated is not None:
            raise InputError(f"{path}: {what} has id {repeated!r} more than once; give each its own")
    for what, boxes in (("annotations", document.annotations), ("ignore", document.ignore)):
        for number, box in enumerate(boxes):
            if box.image_id not in images:
                raise InputError(f"{path}: {what}[{number}]: no image has id {box.image_id}; add it to images")
            if box.category_id not in categories:
                raise InputError(
                    f"{path}: {what}[{number}]: no category has id {box.category_id}; add it to categories"
                )


def _check_units(path: Path, document: Document) -> None:
    """Boxes are in pixels of their frames: at least one has some of its area there, and not all within one pixel."""
    sizes = {i.id: (i.height, i.width) for i in document.images}
    boxes = document.annotations
    advice = "boxes are in pixels of their image's width and height"
    if boxes and all(box.bbox[0] + box.bbox[2] <= 1 and box.bbox[1] + box.bbox[3] <= 1 for box in boxes):
        raise InputError(f"{path}: all {len(boxes)} boxes lie in the first pixel, as shares of a frame do; {advice}")
    if boxes and all(_fault(box, sizes[box.image_id]) in (EMPTY, OUTSIDE) for box in boxes):
        raise InputError(f"{path}: all {len(boxes)} boxes are without area or outside their frames; {advice}")


def _fault(box: Box, size: tuple[int, int]) -> str | None:
    """What is wrong with the place of a box in its frame."""
    (x, y, w, h), (height, width) = box.bbox, size
    if not (w and h):
        return EMPTY
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return OUTSIDE
    return CUT if max(-x, -y, x + w - width, y + h - height) > _SLACK else None


def _image(
    entry: Image,
    videos: Mapping[int | float | str, str],
    boxes: Sequence[tuple[Box, bool]],
    names: Mapping[int, str],
    label_of: Mapping[int, int],
) -> LabelledImage:
    size = (entry.height, entry.width)
    rows: list[tuple[list[float], int, bool]] = []
    remarks: list[str] = []
    seen: set[object] = set()
    for box, crowd in boxes:
        if box.category_id not in label_of:
            continue
        label = label_of[box.category_id]
        same = (label, box.bbox)
        fault = REPEATED if not crowd and same in seen else _fault(box, size)
        if fault:
            remarks.append(fault)
        if fault in (None, CUT):
            x, y, w, h = box.bbox
            rows.append(([x, y, x + w, y + h], label, crowd))
        if not crowd:
            seen.add(same)
    return LabelledImage(
        name=entry.file_name,
        index=entry.frame_index,
        video="" if entry.video_id is None else videos.get(entry.video_id, str(entry.video_id)),
        size=size,
        annotation=Annotation(
            boxes=torch.tensor([box for box, _, _ in rows], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor([label for _, label, _ in rows], dtype=torch.int64),
            ignore=torch.tensor([crowd for _, _, crowd in rows], dtype=torch.bool),
        ),
        remarks=tuple(remarks),
        left_out=tuple(names[box.category_id] for box, _ in boxes if box.category_id not in label_of),
    )
