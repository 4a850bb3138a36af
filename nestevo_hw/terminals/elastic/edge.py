"""Accuracies of paths on a terminal's own labelled frames, and times of its blocks, by ONNX Runtime alone."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from nestevo_hw.base.errors import InputError, LostFileError
from nestevo_hw.base.files import require_file
from nestevo_hw.models.elastic.parts import Parts
from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.terminals.elastic.latency import (
    FITTED_ON,
    LatencyErrors,
    LatencyModel,
    PathTime,
    errors,
    fit,
    measure,
    spread,
)
from nestevo_hw.terminals.elastic.network import Features, Network
from nestevo_hw.terminals.elastic.reuse import outputs
from nestevo_hw.terminals.judging import mean_precision, same_class
from nestevo_hw.terminals.runtime import Found

_ADVICE = "give labelled frames such as held-out.safetensors of the build, which are taken without --frames"
_BATCH = 32
"""Images of a classifier at a time; a detector takes one."""


@dataclass(frozen=True, slots=True)
class EdgeFrames:
    """Labelled frames of a terminal."""

    images: NDArray[np.uint8]
    """(N, 3, H, W)"""
    truth: tuple[Found, ...]
    """What is on each."""
    ignored: tuple[Found, ...]
    """Regions of each in which nothing counts as wrong."""

    @classmethod
    def read(cls, path: Path) -> "EdgeFrames":
        """Frames of a file of `nestevo_hw.streams.storage`.

        Raises:
            InputError: the file is missing, damaged, or holds no labelled frames.
        """
        require_file(path, error=LostFileError)
        try:
            tensors = load_file(path)
            images, counts = tensors["images"], tensors["counts"]
            columns = [np.split(tensors[name], counts.cumsum()[:-1]) for name in ("boxes", "labels", "ignore")]
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} holds no labelled frames ({error}); {_ADVICE}") from error
        if len({len(images), len(counts), *map(len, columns)}) > 1 or not len(counts):
            raise InputError(f"{path} holds {len(images)} frames and labels of {len(counts)}; {_ADVICE}")
        truth, ignored = (
            tuple(
                Found(boxes[rows], labels[rows], np.ones(int(rows.sum()), np.float32))
                for boxes, labels, ignore in zip(*columns, strict=True)
                for rows in [ignore == ignores]
            )
            for ignores in (False, True)
        )
        return cls(images, truth, ignored)

    @classmethod
    def read_for(cls, parts: Parts, path: Path) -> "EdgeFrames":
        """The same, of frames that a supernet takes and on which paths can be told apart.

        Raises:
            InputError: as `read`, or they are of another size, or show nothing that it knows.
        """
        frames = cls.read(path)
        (_, height, width), (_, rows, columns) = parts.image, frames.images.shape[1:]
        if (rows, columns) != (height, width):
            raise InputError(
                f"{path} has frames of {rows} x {columns} pixels, but the supernet takes {height} x {width}; {_ADVICE}"
            )
        labels = {int(label) for found in frames.truth for label in found.labels}
        if strange := sorted(labels - {*range(1, len(parts.classes) + 1)}):
            raise InputError(
                f"{path} has label {strange[0]}, but the supernet knows {len(parts.classes)} classes; {_ADVICE}"
            )
        if not labels:
            raise InputError(f"{path}: its {len(frames.truth)} frames show nothing to find; {_ADVICE}")
        return frames

    def parted(self, most: int) -> tuple["EdgeFrames", "EdgeFrames"]:
        """At most so many frames, evenly spread, and the others."""
        chosen = evenly(range(len(self.images)), most)
        others = sorted({*range(len(self.images))} - {*chosen})
        return self._rows(chosen), self._rows(others)

    def _rows(self, rows: Sequence[int]) -> "EdgeFrames":
        return EdgeFrames(
            self.images[list(rows)], tuple(self.truth[row] for row in rows), tuple(self.ignored[row] for row in rows)
        )

    def floats(self, first: int, count: int = 1) -> NDArray[np.float32]:
        """(count, 3, H, W) in 0..1, as a network takes them."""
        return self.images[first : first + count].astype(np.float32) / np.float32(255)


class Accuracies:
    """Measures paths on labelled frames: frames outside, paths inside, and what paths share once.

    Args:
        network: whose paths they are.
        frames: to measure on.
    """

    def __init__(self, network: Network, frames: EdgeFrames) -> None:
        self._network, self._frames = network, frames

    def __call__(self, paths: Sequence[BranchPath]) -> list[float]:
        """The accuracy of each path, 0 to 1: mAP@0.50, or the share of right classes."""
        network, found = self._network, [list[Found]() for _ in paths]
        network.sessions.change_to(branch for path in paths for branch in path)
        for _, number, features in outputs(paths, self._batches(), network.run):
            found[number] += network.finish(features)
        truth, ignored = self._frames.truth, self._frames.ignored
        if network.parts.kind == "detection":
            return [mean_precision(seen, truth, ignored) for seen in found]
        return [same_class(seen, truth) for seen in found]

    def _batches(self) -> Iterator[Features]:
        size = 1 if self._network.parts.kind == "detection" else _BATCH
        for first in range(0, len(self._frames.images), size):
            yield self._network.start(self._frames.floats(first, size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A device's latency model, and how far it is off."""

    model: LatencyModel
    base_s: float
    """Median time of the base, measured."""
    off: LatencyErrors
    """On whole paths that were not fitted on."""


def time_blocks(
    network: Network, seed: int, *, rounds: int = 30, clock: Callable[[], float] = time.perf_counter
) -> Timing:
    """Measure each branch alone, and whole paths to fit and to check the model on.

    A whole path is what the terminal runs: stem, blocks, and what comes behind them.
    """
    space = network.parts.space
    network.sessions.change_to(space.branches)
    examples = {branch: network.example(branch) for branch in space.branches}
    alone = measure({b: _run_of(network, b, features) for b, features in examples.items()}, rounds=rounds, clock=clock)
    image = np.random.default_rng(seed).random((1, *network.parts.image), dtype=np.float32)
    paths = spread(space, alone, 2 * FITTED_ON, random.Random(seed))
    whole = measure({path: _look_of(network, path, image) for path in paths}, rounds=rounds, clock=clock)
    times = [PathTime(path, whole[path]) for path in paths]
    model = fit(alone, times[::2])
    return Timing(model=model, base_s=whole[space.base], off=errors(model, times[1::2]))


def _run_of(network: Network, branch: Branch, features: Features) -> Callable[[], object]:
    return lambda: network.run(branch, features)


def _look_of(network: Network, path: BranchPath, image: NDArray[np.float32]) -> Callable[[], object]:
    return lambda: network.look(path, image)
