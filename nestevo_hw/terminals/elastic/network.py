"""A supernet on a terminal: what comes before the blocks, the branches, what comes behind them, and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.models.elastic.parts import FINISH, IMAGE, STEM, Parts, checked_file, read_parts, tap_name
from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.terminals.elastic.runtime import BranchSessions, open_model
from nestevo_hw.terminals.runtime import Found


@dataclass(frozen=True, slots=True)
class Features:
    """Where a pass stands."""

    current: NDArray[np.float32]
    """(N, C, H, W) what the next branch takes."""
    tapped: tuple[NDArray[np.float32], ...] = ()
    """What was tapped on the way."""


class Network:
    """The parts of a supernet in a folder.

    Args:
        folder: with manifest and files, as `nestevo_hw.models.elastic.export` writes them.

    Raises:
        InputError: a file is missing or not as it was written.
    """

    def __init__(self, folder: Path) -> None:
        self.parts: Parts = read_parts(folder)
        self.sessions = BranchSessions(folder, digests=self.parts.sha256)
        self._stem, self._finish = (open_model(checked_file(folder, self.parts, name)) for name in (STEM, FINISH))
        self._taps = frozenset(self.parts.taps)

    def start(self, images: NDArray[np.float32]) -> Features:
        """What the first branch takes of (N, 3, H, W) floats in 0..1; of a detector N is 1."""
        return Features(self._stem.run(None, {IMAGE: images})[0])

    def run(self, branch: Branch, features: Features) -> Features:
        """Features behind a branch, which is loaded if it is not there.

        Raises:
            InputError: its file is missing or damaged, or it fails.
        """
        self.sessions.require((branch,))
        output = self.sessions.run(branch, features.current)
        return Features(output, (*features.tapped, output) if branch.end - 1 in self._taps else features.tapped)

    def finish(self, features: Features) -> list[Found]:
        """What the model sees on each image, in pixels of the image; a class is an object that fills it."""
        values = (*features.tapped, features.current)
        taken = {tap_name(block): value for block, value in zip(self.parts.finish_takes, values, strict=True)}
        found: Sequence[Any] = self._finish.run(None, taken)
        if self.parts.kind == "detection":
            return [Found(*found)]
        return [class_of(row, self.parts.image) for row in found[0]]

    def look(self, path: BranchPath, images: NDArray[np.float32]) -> list[Found]:
        """What the model of a path sees on each of (N, 3, H, W) floats in 0..1; of a detector N is 1."""
        features = self.start(images)
        for branch in path:
            features = self.run(branch, features)
        return self.finish(features)

    def example(self, branch: Branch) -> Features:
        """Made-up features of the shape that a branch takes of one image."""
        draw = np.random.default_rng(branch.start)
        return Features(draw.standard_normal((1, *self.parts.taken[branch.start]), dtype=np.float32))


def class_of(logits: NDArray[np.float32], image: tuple[int, int, int]) -> Found:
    """The class of (C,) logits, as an object that fills an image of (3, H, W)."""
    shares = np.exp(logits - logits.max())
    best = int(shares.argmax())
    box = np.array([[0, 0, image[2], image[1]]], np.float32)
    score = np.array([shares[best] / shares.sum()], np.float32)
    return Found(box, np.array([best + 1], np.int64), score)
