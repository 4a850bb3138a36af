"""A supernet as a terminal gets it: a folder with an ONNX file for each branch, for what comes before and behind.

Nothing here needs torch or onnx. A terminal runs a path as a chain of these files, so that a change of paths loads no
more than the blocks in which they differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain, read_json, write_json
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.files import require_file
from nestevo_hw.base.ranges import Range
from nestevo_hw.models.elastic.space import Branch, PathSpace
from nestevo_hw.models.onnx.manifest import sha256

MANIFEST, STEM, FINISH = "elastic.json", "stem.onnx", "finish.onnx"
FORMAT = "nestevo-hw-elastic"
IMAGE, TAKEN, GIVEN = "image", "taken", "given"
"""Names of what stem and blocks take, and of what they give."""
OUTPUTS = {"detection": ("boxes", "labels", "scores"), "classification": ("logits",)}
_ADVICE = "build the supernet again"
_CHANNELS = Range(1, 100_000)
Shape = tuple[Annotated[int, _CHANNELS], Annotated[int, _CHANNELS], Annotated[int, _CHANNELS]]
"""(C, H, W)."""
Kind = Literal["detection", "classification"]
"""What the model does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Manifest of the folder."""

    kind: Kind
    architecture: str
    classes: tuple[str, ...]
    """Label k is classes[k - 1]."""
    space: PathSpace
    taps: tuple[Annotated[int, Range(0, 1000)], ...]
    """Blocks whose outputs `FINISH` takes beside that of the last one, in order."""
    image: Shape
    """Of the images, floats in 0..1."""
    taken: tuple[Shape, ...]
    """What each block takes of one image."""
    given: tuple[Shape, ...]
    """What each block gives."""
    tool: str = f"nestevo-hw {__version__}"
    format: str = FORMAT
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Of each other file of the folder, by name."""

    def __post_init__(self) -> None:
        if not len(self.taken) == len(self.given) == self.space.blocks:
            raise ValueError(
                f"need the shapes of {self.space.blocks} blocks, got {len(self.taken)} and {len(self.given)}"
            )
        if list(self.taps) != sorted({*self.taps}) or any(tap >= self.space.blocks - 1 for tap in self.taps):
            raise ValueError(f"taps are blocks before the last one, in order, got {self.taps}")

    @property
    def finish_takes(self) -> tuple[int, ...]:
        """Blocks whose outputs `FINISH` takes, in the order of its inputs, which are named after them."""
        return (*self.taps, self.space.blocks - 1)


def block_file(branch: Branch) -> str:
    """Name of the file of a branch."""
    return f"block-{branch.name}.onnx"


def tap_name(block: int) -> str:
    """Name of the input of `FINISH` for the output of a block."""
    return f"block{block}"


def write_parts(folder: Path, parts: Parts) -> None:
    """Write the manifest, whole or not at all; the last of the folder's files."""
    write_json(folder / MANIFEST, plain(parts))


def read_parts(folder: Path) -> Parts:
    """The manifest of a folder whose files are all there.

    Raises:
        InputError: it is missing, damaged, of another program, or lacks a file.
    """
    path = folder / MANIFEST
    require_file(path, advice="give the folder of parts that `nestevo-hw elastic build` wrote")
    parts = read_json(path, Parts, advice=_ADVICE)
    if parts.format != FORMAT:
        raise InputError(f"{path}: format: expected {FORMAT} (got {parts.format!r}); {_ADVICE}")
    for name in (STEM, FINISH, *(block_file(branch) for branch in parts.space.branches)):
        if name not in parts.sha256 or not (folder / name).is_file():
            raise InputError(f"{path}: no file {name} beside it; {_ADVICE}")
    return parts


def checked_parts(folder: Path) -> Parts:
    """The manifest of a folder, all of whose files are as they were written.

    Raises:
        InputError: as `read_parts`, or one is not.
    """
    parts = read_parts(folder)
    for name in sorted(parts.sha256):
        checked_file(folder, parts, name)
    return parts


def checked_file(folder: Path, parts: Parts, name: str) -> Path:
    """A file of the folder that is as it was written.

    Raises:
        InputError: it is not.
    """
    path = folder / name
    if not path.is_file() or sha256(path) != parts.sha256[name]:
        raise InputError(f"{path} is not the file that {MANIFEST} describes; {_ADVICE}")
    return path
