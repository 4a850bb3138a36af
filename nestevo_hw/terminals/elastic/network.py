"""A supernet on a terminal: what comes before the blocks, the branches, what comes behind them, and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.parts import (
    FINISH,
    GIVEN,
    IMAGE,
    STEM,
    TAKEN,
    Parts,
    block_file,
    checked_file,
    checked_parts,
    tap_name,
)
from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.terminals.elastic.sessions import BranchSessions
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
        self.parts: Parts = checked_parts(folder)
        self.sessions = BranchSessions[Any](lambda branch: open_part(folder, self.parts, block_file(branch)))
        """Of branches: those of a path have to be open before it runs."""
        self._stem, self._finish = (open_part(folder, self.parts, name) for name in (STEM, FINISH))
        self._taps = frozenset(self.parts.taps)

    def start(self, images: NDArray[np.float32]) -> Features:
        """What the first branch takes of (N, 3, H, W) floats in 0..1; of a detector N is 1.

        Raises:
            InputError: images of another size.
        """
        if images.shape[1:] != self.parts.image:
            (_, height, width), (_, rows, columns) = self.parts.image, images.shape[1:]
            raise InputError(f"frames of {rows} x {columns} pixels, but the supernet takes {height} x {width}")
        return Features(self._stem.run(None, {IMAGE: images})[0])

    def run(self, branch: Branch, features: Features) -> Features:
        """Features behind a branch, which is open."""
        output = self.sessions[branch].run([GIVEN], {TAKEN: features.current})[0]
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
        """What the model of an open path sees on each of (N, 3, H, W) floats in 0..1; of a detector N is 1."""
        features = self.start(images)
        for branch in path:
            features = self.run(branch, features)
        return self.finish(features)

    def example(self, branch: Branch) -> Features:
        """Made-up features of the shape that a branch takes of one image."""
        draw = np.random.default_rng(branch.start)
        return Features(draw.standard_normal((1, *self.parts.taken[branch.start]), dtype=np.float32))


def open_part(folder: Path, parts: Parts, name: str) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """A session of ONNX Runtime on one thread.

    Raises:
        InputError: the file is missing, not as it was written, or cannot be opened.
    """
    file = checked_file(folder, parts, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise InputError(f"{file}: ONNX Runtime cannot open it; build the supernet again") from error


def class_of(logits: NDArray[np.float32], image: tuple[int, int, int]) -> Found:
    """The class of (C,) logits, as an object that fills an image of (3, H, W)."""
    shares = np.exp(logits - logits.max())
    best = int(shares.argmax())
    box = np.array([[0, 0, image[2], image[1]]], np.float32)
    score = np.array([shares[best] / shares.sum()], np.float32)
    return Found(box, np.array([best + 1], np.int64), score)
