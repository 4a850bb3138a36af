"""Which frames of a recording the images of a label file are, and what is worth saying about them."""

import os
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.annotations import CUT, FrameLabels, LabelledImage
from nestevo_hw.streams.sources import FrameSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReview:
    """What became of a label file's content for one recording."""

    file: str
    frames: int = 0
    """Of the recording that are labelled."""
    boxes: int = 0
    """That teach and score."""
    regions: int = 0
    """That score neither right nor wrong."""
    elsewhere: int = 0
    """Images of other recordings in the same file."""
    left_out: Mapping[str, int]
    """Boxes of categories that the class map does not name."""
    dropped: Mapping[str, int]
    """Boxes that cannot be used, by reason."""
    cut: int = 0
    """Boxes that reached beyond their frame."""
    warnings: tuple[str, ...] = ()
    """What should be looked at, one line each."""


def match(labels: FrameLabels, path: Path, source: FrameSource, recording: Path) -> dict[int, LabelledImage]:
    """The labelled frames of a recording, by index.

    Images of a folder are matched by path: relative to the label file, to the folder, or as the end of its path. Frames
    of a video are matched by `frame_index`; of a file for several videos, those that name this one.

    Args:
        labels: content of the label file.
        path: of the label file.
        source: the recording's frames.
        recording: video file or folder of images.

    Raises:
        InputError: nothing belongs to the recording, an image is missing in it, or a frame is labelled twice.
    """
    own = _of_folder(labels.images, path, recording) if source.names else _of_video(labels, recording)
    if not own:
        raise InputError(
            f"labels {path}: none of {len(labels.images)} images belongs to {recording}; name them relative to the "
            "label file or the folder, and videos as their files"
        )
    by_name = {name: index for index, name in enumerate(source.names)}
    named = any(_name(image) in by_name for image in own)
    found: dict[int, LabelledImage] = {}
    for image in own:
        index = by_name.get(_name(image)) if named else image.index
        if index is None or index >= source.length:
            if index is None and not source.names:
                raise InputError(
                    f"labels {path}: image {image.name!r} has no frame_index, by which it would be told which of the "
                    f"{source.length} frames of {recording} it is; add one to each image, counted from 0"
                )
            where = "is no file of it" if index is None else f"has frame_index {index}"
            raise InputError(
                f"labels {path}: image {image.name!r} {where}, but {recording} has {source.length} frames; check that "
                "labels and recording belong together"
            )
        if index in found:
            pair = f"{found[index].name!r} and {image.name!r}"
            raise InputError(f"labels {path}: frame {index} of {recording} is labelled twice, as {pair}; keep one")
        found[index] = image
    return found


def check_size(image: LabelledImage, path: Path, size: tuple[int, int], frame: str) -> None:
    """Refuse labels whose frame has another shape; the same in another resolution is scaled.

    Raises:
        InputError: neither is the other made larger or smaller, give or take a pixel.
    """
    (height, width), (real_height, real_width) = image.size, size
    if abs(width * real_height - height * real_width) > max(width + height, real_width + real_height):
        raise InputError(
            f"labels {path}: image {image.name!r} is {width} x {height}, but {frame} is {real_width} x {real_height} "
            "as it is shown; label upright frames, or correct width and height"
        )


def review(labels: FrameLabels, path: Path, own: Sequence[LabelledImage], size: tuple[int, int]) -> LabelReview:
    """Count what a label file holds for a recording of (H, W) `size`."""
    remarks = Counter(remark for image in own for remark in image.remarks)
    cut = remarks.pop(CUT, 0)
    regions = sum(int(image.annotation.ignore.sum()) for image in own)
    boxes = sum(len(image.annotation.boxes) for image in own) - regions
    warnings = []
    if remarks:
        first = next(image.name for image in own if any(r != CUT for r in image.remarks))
        reasons = ", ".join(f"{count} {reason}" for reason, count in remarks.items())
        warnings.append(f"labels {path}: {remarks.total()} boxes dropped ({reasons}), the first in {first!r}")
    if cut:
        first = next(image.name for image in own if CUT in image.remarks)
        warnings.append(f"labels {path}: {cut} boxes reach beyond their frame and are cut, the first in {first!r}")
    if not boxes:
        warnings.append(f"labels {path}: none of {len(own)} labelled frames has a box, so all of them are background")
    if other := next((image for image in own if image.size != size), None):
        warnings.append(
            f"labels {path}: boxes are scaled, the first from {other.size[1]} x {other.size[0]} to "
            f"{size[1]} x {size[0]}"
        )
    return LabelReview(
        file=str(path), frames=len(own), boxes=boxes, regions=regions, elsewhere=len(labels.images) - len(own),
        left_out=dict(Counter(name for image in own for name in image.left_out)), dropped=dict(remarks), cut=cut,
        warnings=tuple(warnings),
    )  # fmt: skip


def _path(image: LabelledImage) -> PurePosixPath:
    return PurePosixPath(posixpath.normpath(image.name.replace("\\", "/")))


def _name(image: LabelledImage) -> str:
    return _path(image).name


def _by_folder(images: Sequence[LabelledImage]) -> dict[PurePosixPath, list[LabelledImage]]:
    """Images by the folder that their names begin with, "." where they have none."""
    folders: dict[PurePosixPath, list[LabelledImage]] = {}
    for image in images:
        folders.setdefault(_path(image).parent, []).append(image)
    return folders


def _of_folder(images: Sequence[LabelledImage], path: Path, recording: Path) -> list[LabelledImage]:
    folders = _by_folder(images)
    return [i for f, inside in folders.items() if _means(f, path, recording, alone=len(folders) == 1) for i in inside]


def _means(folder: PurePosixPath, path: Path, recording: Path, *, alone: bool) -> bool:
    """Whether a folder in a label file is the recording; a sole one is, unless it is seen to be another."""
    parts = folder.parts
    there = os.path.join(path.parent, folder)  # noqa: PTH118 - any text may stand here, which Path.is_dir does not bear
    if parts and os.path.isdir(there):  # noqa: PTH112
        return os.path.samefile(there, recording)  # noqa: PTH121
    return alone or not parts or recording.absolute().parts[-len(parts) :] == parts


def _of_video(labels: FrameLabels, recording: Path) -> list[LabelledImage]:
    """Those of this video, where the label file tells several apart by its `videos` or by folders."""
    if len(labels.videos) > 1 or len({image.video for image in labels.images}) > 1:
        return [image for image in labels.images if _titled(image.video, recording)]
    folders = _by_folder(labels.images)
    if len(folders) > 1:
        return [image for folder, inside in folders.items() if _titled(str(folder), recording) for image in inside]
    return list(labels.images)


def _titled(name: str, recording: Path) -> bool:
    """Whether a name stands for a video, with its suffix, another one or none."""
    title = PurePosixPath(name.replace("\\", "/"))
    return recording.stem in (title.name, title.stem)
