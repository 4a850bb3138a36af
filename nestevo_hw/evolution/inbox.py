"""What a remote terminal has sent for a window: a list of frames that is fixed before the window begins."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from nestevo_hw.base.documents import plain, read_json, write_json
from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.images import image_size, read_scaled, scaled_to_long_side
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.wire.documents import Estimate

SEALED = "sealed.json"
"""Name of the list in an inbox; the last of its files to be written."""
FIRST_MODEL = -1
"""In place of a window: the model that a terminal began with."""
SHOWN = 8
"""Of a remote terminal's frames, for pictures; no label says how well a model does on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFrame:
    """One frame as it was received."""

    id: str
    """By the terminal."""
    file: str
    sha256: str
    taken_s: float
    """By the terminal's clock, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """All that a window takes from a terminal."""

    frames: tuple[SentFrame, ...] = ()
    """In order of time."""
    asked: bool = False
    """Whether the terminal asked for this evolution."""
    estimate: Estimate | None = None
    """What it made of its own accuracy; None where it did not say."""
    back_to: int | None = None
    """Where it rolled its last model back: window of the one that it runs, `FIRST_MODEL` for its first."""


def seal(folder: Path, inbox: Inbox) -> None:
    """Fix what a window takes; the files of its frames are in the folder already."""
    write_json(folder / SEALED, plain(inbox))


def read_inbox(folder: Path) -> Inbox:
    """What was sealed; nothing where a terminal sent nothing.

    Raises:
        InputError: the list is damaged.
    """
    path = folder / SEALED
    return read_json(path, Inbox, advice="restore it, or begin anew in another folder") if path.exists() else Inbox()


def decoded(folder: Path, inbox: Inbox, long_side: int, most: int) -> tuple[FrameBatch, tuple[float, ...]]:
    """At most so many of the frames, evenly over time, one decoded after the other.

    Damaged ones are left out, and those of another shape than most: a camera has one.

    Args:
        folder: of the inbox.
        inbox: what is in it.
        long_side: of the frames, pixels.
        most: frames to take.

    Returns:
        The frames, and when each was taken, seconds.
    """
    sizes = [_size(folder / frame.file) for frame in inbox.frames]
    common = Counter(size for size in sizes if size is not None).most_common(1)
    usual = common[0][0] if common else (1, 1)
    size = scaled_to_long_side(usual, long_side)
    images, kept = list[torch.Tensor](), list[int]()
    for index in evenly([i for i, native in enumerate(sizes) if native == usual], most):
        try:
            pixels = read_scaled(folder / inbox.frames[index].file, size).pixels
        except InputError:
            continue
        images.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
        kept.append(index)
    stacked = torch.stack(images) if images else torch.empty((0, 3, *size), dtype=torch.uint8)
    return FrameBatch(images=stacked, indices=tuple(kept)), tuple(inbox.frames[i].taken_s for i in kept)


def usual_gap_s(taken_s: Sequence[float]) -> float:
    """Seconds between two frames, as most are apart; a clock that was put back between two says nothing of these.

    Args:
        taken_s: when each was taken, in the order in which they came.
    """
    gaps = [gap for before, after in pairwise(taken_s) if (gap := after - before) > 0.0]
    return statistics.median(gaps) if gaps else 0.0


def _size(path: Path) -> tuple[int, int] | None:
    """(H, W) of an image as its head says; None where that cannot be read."""
    try:
        return image_size(path)
    except InputError:
        return None
