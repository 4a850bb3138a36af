"""Labelled samples by what a user names: a folder of class folders, an .npz, or a function."""

from collections.abc import Sequence
from pathlib import Path

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import require_file
from nestevo_hw.streams.samples.arrays import Arrays
from nestevo_hw.streams.samples.class_folders import ClassFolders
from nestevo_hw.streams.samples.loader import call_loader
from nestevo_hw.streams.samples.source import Source

KINDS = "a folder of class folders, an .npz or package.module:loader"


def open_samples(name: str, classes: Sequence[str] = (), *, kinds: str = KINDS) -> Source:
    """The container of a name.

    Args:
        name: a folder, a file that ends in .npz, or `package.module:loader`.
        classes: of the model, in the order of its outputs; without them, as the container has them.
        kinds: what may be named, for the message.

    Raises:
        InputError: it is none of these, or cannot be read.
        ConfigError: classes that do not fit it, or a function that fails.
    """
    path = Path(name)
    if path.is_dir():
        return ClassFolders(path, classes)
    if path.suffix.lower() == ".npz":
        require_file(path)
        return Arrays(path)
    if ":" in name and not path.exists():
        return call_loader(name, classes)
    raise InputError(f"{name!r} is no data that can be read; give {kinds}")
