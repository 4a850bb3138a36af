"""Label files by their content: COCO and BDD100K JSON, and folders of Pascal VOC or YOLO files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from nestevo_hw.base.documents import parse, read_json
from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.label_document import ADVICE, Document, Gathered
from nestevo_hw.streams.label_folders import read_folder
from nestevo_hw.streams.sources import FrameSource

BDD_SIZE = (720, 1280)
"""(H, W) of all frames of BDD100K, whose files do not say it."""


def read_document(path: Path, source: FrameSource | None = None) -> Document:
    """The content of labels of whatever format they have.

    Args:
        path: file or folder.
        source: frames that they belong to; YOLO files give shares of a frame and not its size.

    Raises:
        InputError: they are missing, of no known format, or damaged.
    """
    if path.is_dir():
        return read_folder(path, source)
    if path.exists() and not path.is_file():  # a pipe can be read only once, and every worker reads its labels
        raise InputError(f"labels {path} are not in a file; {ADVICE}")
    content = read_json(path, Any, advice=ADVICE)
    frames = content.get("frames") if isinstance(content, dict) else content
    if isinstance(frames, list):
        return _of_bdd(path, frames)
    return parse(content, Document, str(path), advice=ADVICE)


_Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e9, le=1e9)]


def _or_empty(value: object) -> object:
    """BDD100K writes null for no labels and no attributes."""
    return () if value is None else value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corners:
    x1: _Number
    y1: _Number
    x2: _Number
    y2: _Number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Label:
    category: Annotated[str, Field(max_length=1024)]
    box2d: _Corners | None = None
    """None for lanes and areas."""
    attributes: Annotated[dict[str, Any], BeforeValidator(lambda value: value or {})] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    name: Annotated[str, Field(max_length=1024)]
    labels: Annotated[tuple[_Label, ...], BeforeValidator(_or_empty)] = ()
    videoName: str | None = None  # noqa: N815 - as the files have it
    frameIndex: Annotated[int, Field(ge=0)] | None = None  # noqa: N815
    size: _Size | None = None


def _of_bdd(path: Path, content: list[object]) -> Document:
    """Frames of BDD100K's detection or tracking labels, as of 2020, or of Scalabel."""
    frames, found = parse(content, tuple[_Frame, ...], str(path), advice=ADVICE), Gathered(path)
    for number, frame in enumerate(frames):
        size = BDD_SIZE if frame.size is None else (frame.size.height, frame.size.width)
        found.frame(frame.name, size, index=frame.frameIndex, video=frame.videoName)
        for place, label in enumerate(frame.labels):
            if label.box2d is not None:
                box, crowd = label.box2d, bool(label.attributes.get("crowd", False))
                where = f"{path}: [{number}].labels[{place}].box2d"
                found.box(label.category, (box.x1, box.y1, box.x2, box.y2), where, ignored=crowd)
    return found.document()
