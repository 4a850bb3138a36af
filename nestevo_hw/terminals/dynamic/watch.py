"""Whether a frame need be run at all: what changed since the last ones, as the camera's noise and the light allow."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.models.onnx.crops.spans import Rect
from nestevo_hw.terminals.dynamic.changes import changed_tiles, noise_thresholds, regions, tile_differences
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.plan import Reason
from nestevo_hw.terminals.runtime import Frame


@dataclass(frozen=True, slots=True)
class Seen:
    """What a frame shows against the reference."""

    reason: Reason
    """What it asks for."""
    changed: tuple[Rect, ...] = ()
    share: float = 0.0
    """Of the image, that changed."""


@dataclass(slots=True)
class Watch:
    """Compares frames with a reference, which is brought up to date only where a frame was taken over.

    So small changes add up until they show, and what is kept belongs to the reference as a whole.
    """

    settings: DynamicSettings
    thresholds: NDArray[np.float64] | None = None
    """In force, 0 to 255, of each tile or of all; None until they are calibrated."""
    reference: Frame | None = None
    _first: Frame = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))
    _last: Frame | None = None
    _mean: float = 0.0
    _age: int = 0
    _noise: list[NDArray[np.uint8]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.settings.threshold is not None:
            self.thresholds = np.array(self.settings.threshold)

    def see(self, frame: Frame) -> Seen:
        """What a frame asks for; `take` it then."""
        self._age += 1
        if self.reference is None or self.reference.shape != frame.shape:
            self._first = frame
            return Seen(Reason.FIRST)
        if self.thresholds is None:
            # Against one frame: what a camera, or a codec that repeats what it sent, does over a while is noise too.
            self._noise.append(tile_differences(frame, self._first))
            if len(self._noise) >= self.settings.calibration_frames:
                self.thresholds = noise_thresholds(np.stack(self._noise))
                self._noise.clear()
            return Seen(Reason.FIRST)
        if abs(_mean_of(frame) - self._mean) > self.settings.light:
            return Seen(Reason.LIGHT)
        return self._against(frame, self.reference)

    def moved_since_last(self, frame: Frame) -> Seen:
        """What changed since the last frame that was `passed`, whatever the reference shows."""
        if self._last is None or self._last.shape != frame.shape or self.thresholds is None:
            return Seen(Reason.FIRST)
        return self._against(frame, self._last)

    def take(self, frame: Frame, changed: tuple[Rect, ...] | None) -> None:
        """A frame was taken over where it changed; None: as a whole."""
        if changed is None or self.reference is None:
            self.reference, self._mean, self._age = frame.copy(), _mean_of(frame), 0
            return
        for rect in changed:
            self.reference[rect.rows.start : rect.rows.stop, rect.columns.start : rect.columns.stop] = frame[
                rect.rows.start : rect.rows.stop, rect.columns.start : rect.columns.stop
            ]

    def passed(self, frame: Frame) -> None:
        """Keep a frame, for `moved_since_last`; the caller leaves it as it is."""
        self._last = frame

    @property
    def typical_threshold(self) -> float | None:
        """Median of the tiles' thresholds."""
        return None if self.thresholds is None else float(np.median(self.thresholds))

    @property
    def due(self) -> bool:
        """Whether a key frame is."""
        return self._age >= self.settings.key_every

    def _against(self, frame: Frame, other: Frame) -> Seen:
        assert self.thresholds is not None
        tiles = changed_tiles(tile_differences(frame, other), self.thresholds)
        if not tiles.any():
            return Seen(Reason.STILL)
        size = (frame.shape[0], frame.shape[1])
        found = tuple(regions(tiles, size, self.settings.most_regions))
        return Seen(Reason.CHANGED, found, min(1.0, sum(rect.area for rect in found) / (size[0] * size[1])))


def _mean_of(frame: Frame) -> float:
    return float(frame[::4, ::4].mean())
