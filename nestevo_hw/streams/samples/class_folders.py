"""A folder of class folders of image files, as most image classifiers are trained on."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.images import SUFFIXES, in_order, read_image
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.samples.source import Labelled


class ClassFolders:
    """Images of folder/class/image; classes are numbered in the order of their names, or as `classes` has them.

    Only names are kept; pixels are read when they are asked for.

    Raises:
        InputError: no class folder, or one without images.
        ConfigError: a folder that `classes` does not name.
    """

    detection = False
    complete = True

    def __init__(self, path: Path, classes: Sequence[str] = ()) -> None:
        self.name = str(path)
        folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
        if not folders:
            raise InputError(f"{path} has no class folders; put images as {path}/CLASS/IMAGE")
        unknown = next((name for name in folders if classes and name not in classes), None)
        if unknown is not None:
            raise ConfigError(f"{path}: folder {unknown!r} is none of the {len(classes)} classes; name all of them")
        self.classes = tuple(classes) or tuple(folders)
        found: list[tuple[Path, int]] = []
        for folder in folders:
            with os.scandir(path / folder) as entries:
                files = sorted(entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES))
            if not files:
                raise InputError(f"class folder {path / folder} has no images ({', '.join(SUFFIXES)}); remove it")
            label = self.classes.index(folder)
            found += [(path / folder / file, label) for file in files]
        self._files = [file for file, _ in found]
        self._classes = [label for _, label in found]
        self.labels: Sequence[int] | None = self._classes
        self.count = len(found)

    def read(self, indices: Sequence[int], prepare: Preprocessing) -> Iterator[Labelled]:
        """See `Source.read`."""
        for index in indices:
            yield Labelled(sample=prepare.image(read_image(self._files[index])), target=self._classes[index])

    def in_order_of_time(self) -> list[int]:
        """Indices of all images by when they were taken, as `streams.images.in_order` tells; classes play no part."""
        place = {file: index for index, file in enumerate(self._files)}
        return [place[file] for file in in_order(self._files)]
