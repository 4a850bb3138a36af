"""Recorded streams: video files and image folders, with or without labels, with optional drift."""

import copy
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.streams.annotations import LabelledImage, load_labels
from nestevo_hw.streams.frame import Annotation, FrameBatch
from nestevo_hw.streams.images import open_recording, scaled, scaled_to_long_side
from nestevo_hw.streams.matching import LabelReview, check_size, match, review
from nestevo_hw.streams.weather import DriftScript, apply_weather

FILL = torch.tensor((124, 116, 104), dtype=torch.uint8)[:, None, None]
"""Colour beside a frame: the mean that detectors subtract, with which they fill up batches themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What damage in a recording has cost."""

    file: str
    frames: int
    """That were looked at."""
    damaged: int
    """Of them, which others stand in for or which are left out."""
    warnings: tuple[str, ...]
    """What should be looked at, one line each."""


class VideoStream:
    """Frames of a recording, scaled to a given long side; satisfies `nestevo_hw.streams.frame.Stream`."""

    def __init__(
        self,
        *,
        name: str,
        path: Path,
        labels: Path | None = None,
        class_map: Mapping[str, str] | None = None,
        classes: Sequence[str] | None = None,
        long_side: int = 320,
        canvas: tuple[int, int] | None = None,
        fps: float | None = None,
        drift: DriftScript | None = None,
        seed: int = 0,
        horizon: float = 0.25,
        cache_mb: float = 256.0,
    ) -> None:
        """Open a recording.

        Args:
            name: of the terminal.
            path: video file, or folder of images.
            labels: of any format of `label_formats`; video frames are matched by number, images by path.
            class_map: the label file's categories to the model's classes; unnamed ones are left out.
            classes: the model's classes in the order of its labels; without it, those of the labels.
            long_side: of the delivered frames, pixels; the aspect ratio is kept.
            canvas: (H, W) of the delivered frames instead; each is made as large as fits, and filled up at the right
                and at the bottom.
            fps: frames a second; without it, as recorded, or 10 for images.
            drift: weather over time, added to the recording.
            seed: of the weather's noise.
            horizon: row of the horizon as a share of the height, for fog.
            cache_mb: memory for scaled frames, megabytes.

        Raises:
            InputError: recording or labels are missing or unreadable, or do not fit together.
            ConfigError: an impossible size, class map or drift.
        """
        if long_side < 32:
            raise ConfigError(f"stream {name!r}: need a long side of at least 32 pixels, got {long_side}")
        self.drift = drift or DriftScript()
        self.drift.check_weather_only(name)
        source = open_recording(path)
        self.name = name
        self.path = path
        self.fps: float = fps or source.fps or 10.0
        self.length: int | None = source.length
        self.native_size = height, width = source.native_size
        self._shown = scaled_to_long_side(source.native_size, long_side)
        if canvas:
            self._shown = scaled(source.native_size, min(canvas[0] / height, canvas[1] / width))
        self.size = canvas or self._shown
        self.seed = seed
        self.horizon = horizon
        self._source = source
        self._labels = labels
        self._stated: dict[int, LabelledImage] = {}
        self._truth: dict[int, Annotation] = {}
        self._looked_at: set[int] = set()
        self._damaged: set[int] = set()
        self.review: LabelReview | None = None
        """What became of the label file, where there is one."""
        self.classes: tuple[str, ...] = tuple(classes or ())
        if labels is not None:
            self._read_labels(labels, class_map, classes)
        self._cache: OrderedDict[int, Tensor] = OrderedDict()
        self._capacity = max(1, int(cache_mb * 1e6 / (3 * self._shown[0] * self._shown[1])))

    def with_drift(self, drift: DriftScript, *, seed: int) -> "VideoStream":
        """The same recording under other weather; file index, labels and cache are shared.

        Raises:
            ConfigError: the script asks for what only embedded streams can do.
        """
        drift.check_weather_only(self.name)
        other = copy.copy(self)
        other.drift = drift
        other.seed = seed
        return other

    @property
    def labelled_indices(self) -> tuple[int, ...]:
        """Frames with truth, ascending."""
        return tuple(sorted(self._truth))

    @property
    def counts(self) -> dict[str, int]:
        """Boxes of each class, the most frequent first; without regions that do not score."""
        labels = [int(label) for truth in self._truth.values() for label in truth.labels[~truth.ignore]]
        return {self.classes[label - 1]: count for label, count in Counter(labels).most_common()}

    def check(self, indices: Sequence[int]) -> None:
        """Look at frames without decoding them, before a run relies on them.

        Raises:
            InputError: one cannot be read, is absurdly large, or has another shape than its labels say.
        """
        for index in indices:
            self._check_size(index, self._source.size_of(index))

    def instead(self, wanted: Sequence[int], candidates: Sequence[int]) -> list[int]:
        """The wanted frames, and in place of damaged ones the nearest whole candidates, as long as there are any.

        Args:
            wanted: ascending.
            candidates: ascending; only where frames are damaged they are decoded.

        Raises:
            InputError: more than half of the wanted frames are damaged.
        """
        if self._source.names:  # an image that cannot be read is refused: it can be removed
            return list(wanted)
        whole = self._clear(wanted)
        lost = [index for index in wanted if index not in whole]
        self._looked_at.update(wanted)
        self._damaged.update(lost)
        if 2 * len(lost) > len(wanted):
            raise InputError(
                f"{self.path}: {len(lost)} of {len(wanted)} frames from {wanted[0]} to {wanted[-1]} are damaged, more "
                "than half; copy or record it again"
            )
        spare = [i for i in self._source.whole(candidates) if i not in whole] if lost else []
        return sorted([*whole, *_nearest(lost, spare)])

    @property
    def damage(self) -> Damage | None:
        """What was found where frames have been planned; None where nothing was damaged."""
        if not self._damaged:
            return None
        lost, looked_at = len(self._damaged), len(self._looked_at)
        return Damage(
            file=str(self.path), frames=looked_at, damaged=lost,
            warnings=(f"video {self.path}: {lost} of {looked_at} frames looked at are damaged, the first is "
                      f"{min(self._damaged)}; whole ones nearby are used instead, or none",),
        )  # fmt: skip

    def read(self, indices: Sequence[int]) -> FrameBatch:
        """Frames at `indices`; with truth only if every one of them is labelled.

        Raises:
            InputError: a frame does not exist or cannot be decoded.
        """
        for index in indices:
            if not 0 <= index < self._source.length:
                raise InputError(
                    f"stream {self.name!r}: {self.path} has frames 0 to {self._source.length - 1}, not {index}"
                )
        clear = self._clear(sorted(set(indices)))
        if lost := sorted(set(indices) - set(clear)):
            raise InputError(f"{self.path}: frame {lost[0]} is damaged; encode or record the video again")
        images = [self._filled(self._drifted(clear[index], index)) for index in indices]
        truth = tuple(self._truth[i] for i in indices) if all(i in self._truth for i in indices) else None
        empty = torch.empty((0, 3, *self.size), dtype=torch.uint8)
        return FrameBatch(images=torch.stack(images) if images else empty, indices=tuple(indices), truth=truth)

    def _clear(self, wanted: Sequence[int]) -> dict[int, Tensor]:
        """(3, H, W) uint8 frames as recorded, from the cache or the file; without damaged ones."""
        frames = {index: self._cache[index] for index in wanted if index in self._cache}
        missing = [index for index in wanted if index not in frames]
        if missing:
            for frame in self._source.frames(missing, self._shown):
                self._check_size(frame.index, frame.native_size)
                pixels = torch.from_numpy(frame.pixels.copy()).permute(2, 0, 1).contiguous()
                frames[frame.index] = self._cache[frame.index] = pixels
                if len(self._cache) > self._capacity:
                    self._cache.popitem(last=False)
        return frames

    def _drifted(self, image: Tensor, index: int) -> Tensor:
        strengths = self.drift.strengths(index)
        if not strengths:
            return image
        generator = torch_generator(self.seed, "frame", self.name, index)
        changed = apply_weather(image[None].float() / 255, [strengths], [generator], horizon=self.horizon)
        return (changed[0] * 255).round().to(torch.uint8)

    def _filled(self, image: Tensor) -> Tensor:
        """A (3, h, w) frame on the canvas."""
        if image.shape[1:] == self.size:
            return image
        filled = FILL.expand(3, *self.size).clone()
        filled[:, : image.shape[1], : image.shape[2]] = image
        return filled

    def _read_labels(self, path: Path, class_map: Mapping[str, str] | None, classes: Sequence[str] | None) -> None:
        labels = load_labels(path, class_map=class_map, classes=classes, source=self._source)
        self.classes = labels.classes
        self._stated = match(labels, path, self._source, self.path)
        firsts = {image.size: index for index, image in reversed(self._stated.items())}
        self.check(list(firsts.values()))
        self.review = review(labels, path, list(self._stated.values()), self._source.native_size)
        self._truth = {index: image.scaled_to(self._shown) for index, image in self._stated.items()}

    def _check_size(self, index: int, size: tuple[int, int]) -> None:
        if self._labels is not None and index in self._stated:
            check_size(self._stated[index], self._labels, size, f"frame {index} of {self.path}")


def _nearest(wanted: Sequence[int], spare: list[int]) -> list[int]:
    """For each of the wanted numbers the nearest of the ascending spare ones, which are used up."""
    found = []
    for index in wanted[: len(spare)]:
        place = bisect_left(spare, index)
        around = [k for k in (place - 1, place) if 0 <= k < len(spare)]
        found.append(spare.pop(min(around, key=lambda k: abs(spare[k] - index))))
    return found
