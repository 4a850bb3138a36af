"""A path through a supernet as a terminal runs it: a chain of ONNX sessions, each opened when it is first needed."""

from dataclasses import dataclass
from functools import cached_property
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
    read_parts,
    tap_name,
)
from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.terminals.runtime import Found

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """Where a pass stands: what the next branch takes, and what was tapped on the way."""

    current: Floats
    """(N, C, H, W)"""
    tapped: tuple[Floats, ...] = ()


class Runner:
    """The parts of a supernet in a folder.

    Args:
        folder: with the manifest and files of `nestevo_hw.models.elastic.export`.
        path: whose blocks are to be there; others are opened when they are first run.

    Raises:
        InputError: the folder is damaged.
    """

    def __init__(self, folder: Path, path: BranchPath = ()) -> None:
        self.folder, self.parts = folder, read_parts(folder)
        self._taps = frozenset(self.parts.taps)
        self._blocks: dict[Branch, Any] = {}
        self.load(path)

    @cached_property
    def _stem(self) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
        return open_part(self.folder, self.parts, STEM)

    @cached_property
    def _finish(self) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
        return open_part(self.folder, self.parts, FINISH)

    @property
    def loaded(self) -> frozenset[Branch]:
        """Branches whose sessions are open."""
        return frozenset(self._blocks)

    def load(self, path: BranchPath) -> tuple[Branch, ...]:
        """Open what a path needs, and tell what was not there."""
        missing = tuple(branch for branch in path if branch not in self._blocks)
        for branch in missing:
            self._session(branch)
        return missing

    def keep(self, path: BranchPath) -> None:
        """Close all branches that a path does not need."""
        self._blocks = {branch: session for branch, session in self._blocks.items() if branch in path}

    def start(self, images: Floats) -> Features:
        """What the first branch takes of (N, 3, H, W) floats in 0..1; of a detector N is 1."""
        return Features(self._stem.run([TAKEN], {IMAGE: images})[0])

    def run(self, branch: Branch, features: Features) -> Features:
        """Features behind a branch."""
        output = self._session(branch).run([GIVEN], {TAKEN: features.current})[0]
        tapped = (*features.tapped, output) if branch.end - 1 in self._taps else features.tapped
        return Features(output, tapped)

    def finish(self, features: Features) -> list[Found]:
        """What the model sees on each image, in pixels of the image; a class is an object that fills it."""
        values = (*features.tapped, features.current)
        taken = {tap_name(block): value for block, value in zip(self.parts.finish_takes, values, strict=True)}
        if self.parts.kind == "detection":
            boxes, labels, scores = self._finish.run(None, taken)
            return [Found(boxes, labels, scores)]
        (logits,) = self._finish.run(None, taken)
        return [_class_of(row, self.parts.image) for row in logits]

    def look(self, path: BranchPath, images: Floats) -> list[Found]:
        """What the model of a path sees on each of (N, 3, H, W) images; of a detector N is 1."""
        features = self.start(images)
        for branch in path:
            features = self.run(branch, features)
        return self.finish(features)

    def example(self, branch: Branch) -> Features:
        """Made-up features of the shape that a branch takes of one image."""
        shape = self.parts.taken[branch.start]
        draw = np.random.default_rng(branch.start)
        return Features(draw.standard_normal((1, *shape), dtype=np.float32))

    def _session(self, branch: Branch) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
        if branch not in self._blocks:
            self._blocks[branch] = open_part(self.folder, self.parts, block_file(branch))
        return self._blocks[branch]


def open_part(folder: Path, parts: Parts, name: str) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """A session of ONNX Runtime on one thread.

    Raises:
        InputError: the file is not as it was written, or cannot be opened.
    """
    path = checked_file(folder, parts, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise InputError(f"{path}: ONNX Runtime cannot open it; build the supernet again") from error


def _class_of(logits: Floats, image: tuple[int, int, int]) -> Found:
    shares = np.exp(logits - logits.max())
    best = int(shares.argmax())
    box = np.array([[0, 0, image[2], image[1]]], np.float32)
    score = np.array([shares[best] / shares.sum()], np.float32)
    return Found(box, np.array([best + 1], np.int64), score)
