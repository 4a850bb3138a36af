"""COCO label files: boxes of the labelled frames of a video or an image folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BeforeValidator, Field

from nestevo_hw.base.documents import read_json
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.frame import Annotation

MAX_SIDE = 65535
"""Of a frame, pixels."""
EMPTY, OUTSIDE, REPEATED, CUT = "without area", "outside the frame", "given twice", "cut at the frame's edge"
"""What is done to a box: the first three are dropped."""
_LIST = 800
"""Length to which names are listed, characters."""
_SLACK = 1.0
"""How far a box may reach beyond its frame without a word, pixels: tools round."""


def _whole(value: object) -> object:
    """Some writers keep all numbers as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _truth(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


_Integer = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=-(2**63), lt=2**63)]
_Side = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=1, le=MAX_SIDE)]
_Index = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0)]
_Flag = Annotated[int, BeforeValidator(_truth), Field(strict=True, ge=0, le=1)]
_Position = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e9, le=1e9)]
_Extent = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1e9)]
_Name = Annotated[str, Field(max_length=1024)]
_AnyId = int | float | _Name
"""Of what nothing in the file refers to by number alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Category:
    id: _Integer
    name: _Name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    id: _Integer
    file_name: _Name
    width: _Side
    height: _Side
    frame_index: _Index | None = None
    video_id: _AnyId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    image_id: _Integer
    category_id: _Integer
    bbox: tuple[_Position, _Position, _Extent, _Extent]
    id: _AnyId | None = None
    iscrowd: _Flag = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Video:
    id: _AnyId
    file_name: _Name | None = None
    name: _Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A label file; tools add much else, which nothing here reads."""

    categories: tuple[_Category, ...]
    images: tuple[_Image, ...]
    annotations: tuple[_Box, ...]
    ignore: tuple[_Box, ...] = ()
    videos: tuple[_Video, ...] = ()


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
class CocoLabels:
    """What a label file says, in its own pixels."""

    classes: tuple[str, ...]
    """Label k is classes[k - 1]."""
    images: tuple[LabelledImage, ...]
    videos: tuple[str, ...]
    """Names of the videos that it lists."""


def load_coco(
    path: Path, *, class_map: Mapping[str, str] | None = None, classes: Sequence[str] | None = None
) -> CocoLabels:
    """Read a COCO detection file.

    Beyond plain COCO, an image may carry `frame_index` (0-based position in its video), and a list
    `ignore` beside `annotations` holds regions that score neither right nor wrong, like `iscrowd`.

    Args:
        path: JSON file.
        class_map: the file's category names to the model's class names; several may share one, and
            categories it does not name are left out. Without it, categories keep their names.
        classes: the model's classes in the order of its labels; without it, in order of first mention.

    Raises:
        InputError: the file is missing, not JSON, not COCO, or contradicts itself.
        ConfigError: the class map names a category or class that does not exist.
    """
    if path.exists() and not path.is_file():  # a pipe can be read only once, and every worker reads its labels
        raise InputError(f"labels {path} are not in a file; give labels as COCO JSON")
    document = read_json(path, _Document, advice="give labels as COCO JSON: categories, images and annotations")
    _check_references(path, document)
    _check_units(path, document)
    names = {c.id: c.name for c in document.categories}
    class_map = dict(class_map) if class_map else {name: name for name in names.values()}
    if classes is None:
        classes = tuple(dict.fromkeys(class_map.values()))
    label_of = _labels(path, names, class_map, classes)
    boxes: dict[int, list[tuple[_Box, bool]]] = {image.id: [] for image in document.images}
    for box in document.annotations:
        boxes[box.image_id].append((box, bool(box.iscrowd)))
    for box in document.ignore:
        boxes[box.image_id].append((box, True))
    videos = {v.id: v.file_name or v.name or str(v.id) for v in document.videos}
    images = tuple(_image(i, videos, boxes[i.id], names, label_of) for i in document.images)
    return CocoLabels(classes=tuple(classes), images=images, videos=tuple(videos.values()))


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


def _check_references(path: Path, document: _Document) -> None:
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
                raise InputError(f"{path}: {what}.{number}: no image has id {box.image_id}; add it to images")
            if box.category_id not in categories:
                raise InputError(f"{path}: {what}.{number}: no category has id {box.category_id}; add it to categories")


def _check_units(path: Path, document: _Document) -> None:
    """Boxes are in pixels of their frames: at least one has some of its area there, and not all within one pixel."""
    sizes = {i.id: (i.height, i.width) for i in document.images}
    boxes = document.annotations
    advice = "bbox is x, y, width and height in pixels of its image's width and height"
    if boxes and all(box.bbox[0] + box.bbox[2] <= 1 and box.bbox[1] + box.bbox[3] <= 1 for box in boxes):
        raise InputError(f"{path}: all {len(boxes)} boxes lie in the first pixel, as shares of a frame do; {advice}")
    if boxes and all(_fault(box, sizes[box.image_id]) in (EMPTY, OUTSIDE) for box in boxes):
        raise InputError(f"{path}: all {len(boxes)} boxes are without area or outside their frames; {advice}")


def _fault(box: _Box, size: tuple[int, int]) -> str | None:
    """What is wrong with the place of a box in its frame."""
    (x, y, w, h), (height, width) = box.bbox, size
    if not (w and h):
        return EMPTY
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return OUTSIDE
    return CUT if max(-x, -y, x + w - width, y + h - height) > _SLACK else None


def _image(
    entry: _Image,
    videos: Mapping[int | float | str, str],
    boxes: Sequence[tuple[_Box, bool]],
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
