"""Labels of boxes, in a file or a folder of files, with a folder of images or a video."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from nestevo_hw.base.errors import ConfigError, InputError, MissingFileError
from nestevo_hw.streams.annotations import LabelledImage, load_labels
from nestevo_hw.streams.images import native_frames, open_recording
from nestevo_hw.streams.label_folders import images_of
from nestevo_hw.streams.matching import check_size, match
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.samples.source import Labelled, placed
from nestevo_hw.streams.sources import FrameSource

_FEW = 10
"""Classes that a message names."""


class LabelledBoxes:
    """Labelled frames of any format of `streams.label_formats`, in their own size unless the preprocessing has another.

    Args:
        path: of the labels, a file or a folder of files.
        images: folder or video; None for where names in the file lead, or where those of a folder usually are.
        classes: of the model, in the order of its labels; without it, in the order of the labels.

    Raises:
        InputError: labels or frames cannot be read, or do not belong together.
        ConfigError: there is a category that `classes` does not name.
    """

    detection = True
    complete = False
    labels: Sequence[int] | None = None

    def __init__(self, path: Path, images: Path | None, classes: Sequence[str] = ()) -> None:
        if path.is_dir():  # YOLO's files need the frames to be understood
            images = images or images_of(path)
        source = None if images is None else _opened(images, path)
        labels = load_labels(path, source=source)
        self.name, self._path = str(path), path
        unknown = next((name for name in labels.classes if classes and name not in classes), None)
        if unknown is not None:
            raise ConfigError(
                f"{path}: category {unknown!r} is none of the {len(classes)} classes of the model{_few(classes)}; name "
                "all of them with --classes, in its order, by the labels' names"
            )
        self.classes = tuple(classes) or labels.classes
        number = [self.classes.index(name) + 1 for name in labels.classes]
        if images is None:
            images = _where(path, [image.name for image in labels.images], labels.videos)
        self._recording = images
        self._source = source or _opened(images, path)
        found = match(labels, path, self._source, images)
        self._frames = [(index, _renumbered(found[index], number)) for index in sorted(found)]
        self.count = len(self._frames)

    def read(self, indices: Sequence[int], prepare: Preprocessing) -> Iterator[Labelled]:
        """See `Source.read`."""
        chosen = [self._frames[place] for place in indices]
        labels = dict(chosen)
        for frame in native_frames(self._source, list(labels)):
            index, labelled = frame.index, labels.pop(frame.index)
            check_size(labelled, self._path, frame.native_size, f"frame {index} of {self._recording}")
            truth = labelled.scaled_to(frame.native_size)
            yield Labelled(sample=prepare.image(frame.pixels), target=placed(truth, frame.native_size, prepare))
        if labels:
            raise InputError(f"{self._recording}: frame {min(labels)} is damaged; leave it out of {self._path}")


def _few(classes: Sequence[str]) -> str:
    return f" ({', '.join(classes)})" if len(classes) <= _FEW else ""


def _opened(images: Path, labels: Path) -> FrameSource:
    if not images.exists():
        raise MissingFileError(f"no folder or video {images} for the labels {labels}; say where they are with --images")
    return open_recording(images)


def _where(path: Path, names: Sequence[str], videos: Sequence[str]) -> Path:
    """The folder of the first image, or the video that the file names, beside the label file."""
    video = next((path.parent / name for name in videos if (path.parent / name).is_file()), None)
    if video is not None:
        return video
    first = path.parent / (names[0].replace("\\", "/") if names else "")
    if not first.is_file():
        raise InputError(f"{path}: no file {first}; say with --images where the images or the video are")
    return first.parent


def _renumbered(image: LabelledImage, number: Sequence[int]) -> LabelledImage:
    """Its labels in the model's order."""
    order = torch.tensor((0, *number))
    truth = image.annotation
    return replace(image, annotation=replace(truth, labels=order[truth.labels]))
