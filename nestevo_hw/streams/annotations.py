"""COCO label files: boxes of the labelled frames of a video or an image folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nestevo_hw.base.documents import read_json
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.frame import Annotation


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """Labels of one frame."""

    name: str
    """File name in the label file."""
    index: int | None
    """Position in the video, if the label file says it."""
    size: tuple[int, int]
    """(H, W) in pixels that the boxes refer to."""
    annotation: Annotation

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
        InputError: the file is missing, not JSON, or not COCO.
        ConfigError: the class map names a category or class that does not exist.
    """
    document = read_json(path, dict[str, Any], advice="give labels as COCO JSON")
    try:
        names = {int(c["id"]): str(c["name"]) for c in document["categories"]}
        class_map = dict(class_map) if class_map else {name: name for name in names.values()}
        if classes is None:
            classes = tuple(dict.fromkeys(class_map.values()))
        label_of = _labels(path, names, class_map, classes)
        rows: dict[int, list[tuple[list[float], int, bool]]] = {int(i["id"]): [] for i in document["images"]}
        for key in ("annotations", "ignore"):
            for entry in document.get(key, []):
                if label := label_of.get(int(entry["category_id"])):
                    crowd = key == "ignore" or bool(entry.get("iscrowd", 0))
                    x, y, w, h = (float(v) for v in entry["bbox"])
                    rows[int(entry["image_id"])].append(([x, y, x + w, y + h], label, crowd))
        images = tuple(_image(entry, rows[int(entry["id"])]) for entry in document["images"])
    except (KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{path} is not a COCO label file ({what}); it needs categories, images and annotations"
        ) from error
    return CocoLabels(classes=tuple(classes), images=images)


def _labels(
    path: Path, names: Mapping[int, str], class_map: Mapping[str, str], classes: Sequence[str]
) -> dict[int, int]:
    """Category id to label, of the categories in use."""
    for source, target in class_map.items():
        if source not in names.values():
            raise ConfigError(f"class map: {path} has no category {source!r}, only {', '.join(names.values())}")
        if target not in classes:
            raise ConfigError(f"class map: no class {target!r} for {source!r}; choose from {', '.join(classes)}")
    return {id_: classes.index(class_map[name]) + 1 for id_, name in names.items() if name in class_map}


def _image(entry: Mapping[str, Any], rows: Sequence[tuple[list[float], int, bool]]) -> LabelledImage:
    height, width = int(entry["height"]), int(entry["width"])
    if height < 1 or width < 1:
        raise ValueError(f"image {entry['id']} has height {height} and width {width}")
    index = entry.get("frame_index")
    return LabelledImage(
        name=str(entry["file_name"]),
        index=None if index is None else int(index),
        size=(height, width),
        annotation=Annotation(
            boxes=torch.tensor([box for box, _, _ in rows], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor([label for _, label, _ in rows], dtype=torch.int64),
            ignore=torch.tensor([crowd for _, _, crowd in rows], dtype=torch.bool),
        ),
    )
