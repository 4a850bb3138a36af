"""What a label file says, strictly: the schema that every format is read into."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from nestevo_hw.base.documents import parse
from nestevo_hw.base.errors import InputError

ADVICE = "give labels as COCO or BDD100K JSON, or a folder of Pascal VOC .xml or YOLO .txt files"
MAX_SIDE = 65535
"""Of a frame, pixels."""


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
class Category:
    """A kind of object."""

    id: _Integer
    name: _Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A labelled frame."""

    id: _Integer
    file_name: _Name
    width: _Side
    height: _Side
    frame_index: _Index | None = None
    video_id: _AnyId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An object."""

    image_id: _Integer
    category_id: _Integer
    bbox: tuple[_Position, _Position, _Extent, _Extent]
    """Left, top, width and height in pixels of the image's width and height."""
    id: _AnyId | None = None
    iscrowd: _Flag = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One of several recordings."""

    id: _AnyId
    file_name: _Name | None = None
    name: _Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What label files of every format say, in the terms of COCO; tools add much else, which nothing here reads."""

    categories: tuple[Category, ...]
    images: tuple[Image, ...]
    annotations: tuple[Box, ...]
    ignore: tuple[Box, ...] = ()
    videos: tuple[Video, ...] = ()


class Gathered:
    """A label document that grows frame by frame.

    Args:
        path: of the labels, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._images: list[dict[str, Any]] = []
        self._boxes: list[dict[str, Any]] = []
        self._categories: dict[str, int] = {}

    def frame(self, name: str, size: tuple[int, int], *, index: int | None = None, video: str | None = None) -> None:
        """Begin a frame of (H, W) `size`, to which the boxes that follow belong."""
        height, width = size
        self._images.append({"id": len(self._images), "file_name": name, "width": width, "height": height,
                             "frame_index": index, "video_id": video})  # fmt: skip

    def category(self, name: str) -> None:
        """Have a category, whether or not it has boxes."""
        self._categories.setdefault(name, len(self._categories))

    def box(
        self, category: str, corners: tuple[float, float, float, float], where: str, *, ignored: bool = False
    ) -> None:
        """An object of the frame begun last.

        Args:
            category: of it.
            corners: left, top, right and bottom, pixels.
            where: it stands in the labels, for messages.
            ignored: whether it scores neither right nor wrong.

        Raises:
            InputError: the corners are no numbers, or change places.
        """
        left, top, right, bottom = corners
        if not all(map(math.isfinite, corners)) or right < left or bottom < top:
            raise InputError(f"{where}: need left <= right and top <= bottom, got {left:g}, {top:g}, {right:g} and "
                             f"{bottom:g}; correct the box")  # fmt: skip
        self.category(category)
        self._boxes.append({"image_id": len(self._images) - 1, "category_id": self._categories[category],
                            "bbox": (left, top, right - left, bottom - top), "iscrowd": int(ignored)})  # fmt: skip

    def document(self) -> Document:
        """All of it.

        Raises:
            InputError: there is no frame, or a side or a number that no frame has.
        """
        if not self._images:
            raise InputError(f"labels {self._path} have no frame; {ADVICE}")
        categories = tuple({"id": number, "name": name} for name, number in self._categories.items())
        content = {"categories": categories, "images": tuple(self._images), "annotations": tuple(self._boxes)}
        return parse(content, Document, f"labels {self._path}", advice=ADVICE)
