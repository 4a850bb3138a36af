"""Which tiles of a frame have changed against what was last taken over, beyond the camera's noise."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.models.onnx.crops.spans import Rect, Span
from nestevo_hw.terminals.runtime import Frame

TILE_PX = 16
_LEAST, _MOST = 8.0, 48.0
"""Of a calibrated threshold: rounding of the decoder below, and what is no noise of any camera above."""
_ALONE = 1.5
"""Times its threshold that a single tile has to exceed."""
_ABOVE_NOISE = 1.5
"""The largest of a tile's 768 differences has a narrow distribution: half as much again as its median is no noise."""


def tile_differences(frame: Frame, reference: Frame) -> NDArray[np.uint8]:
    """(rows, columns) largest difference of any channel in each tile of `TILE_PX`; the last ones may be smaller."""
    height, width, channels = frame.shape
    difference = np.maximum(frame, reference) - np.minimum(frame, reference)
    lines = _largest(difference.reshape(height, width * channels), TILE_PX)
    return np.ascontiguousarray(_largest(np.ascontiguousarray(lines.T), TILE_PX * channels).T)


def _largest(values: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Of every `step` rows, and of what is left."""
    whole = len(values) // step * step
    found: NDArray[np.uint8] = values[:whole].reshape(-1, step, values.shape[1]).max(1)
    if whole == len(values):
        return found
    return np.concatenate([found, values[whole:].max(0, keepdims=True)])


def noise_thresholds(differences: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(rows, columns) what differences between frames of a camera come to by noise alone, in each tile.

    Where there are edges, a codec makes more of it than on a wall: a tile's own median counts, within bounds, as
    something may pass through it.

    Args:
        differences: (N, rows, columns) of tiles against one frame, of which most tiles show nothing new.
    """
    own = _ABOVE_NOISE * np.median(differences, 0)
    typical = min(max(float(np.median(own)), _LEAST), _MOST)
    found: NDArray[np.float64] = np.clip(own, typical, 2 * typical)
    return found


def changed_tiles(differences: NDArray[np.uint8], thresholds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(rows, columns) tiles beyond their threshold; one that stands alone must be so by half: noise is seldom two."""
    beyond = differences > thresholds
    if not beyond.any():
        return beyond
    rows, columns = beyond.shape
    around = np.zeros((rows + 2, columns + 2), np.uint8)
    for down in range(3):
        for right in range(3):
            around[down : down + rows, right : right + columns] += beyond
    found: NDArray[np.bool_] = beyond & ((around[1:-1, 1:-1] > 1) | (differences > _ALONE * thresholds))
    return found


def regions(changed: NDArray[np.bool_], size: tuple[int, int], most: int) -> list[Rect]:
    """Rectangles around changed tiles, in pixels of a frame of (H, W).

    Tiles that are neighbours, or have but one between them, are one region: what is computed for each reaches further
    than that. More than `most` are brought down by joining those that grow least by it.
    """
    found = [Rect(Span(*rows), Span(*columns)) for rows, columns in _groups(changed)]
    while len(found) > 1:
        pairs = [(_growth(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(found[:i])]
        growth, i, j = min(pairs)
        if growth > 0 and len(found) <= most:
            break
        found[j] = found[j].hull(found.pop(i))
    return [_pixels(rect, size) for rect in found]


def _growth(one: Rect, other: Rect) -> int:
    """Tiles that a common rectangle has more than both with a tile around each."""
    around = [(r.rows.size + 2) * (r.columns.size + 2) for r in (one, other)]
    both = one.hull(other)
    return (both.rows.size + 2) * (both.columns.size + 2) - sum(around)


def _groups(changed: NDArray[np.bool_]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows of tiles and their columns, cut wherever a whole row or column between is empty."""
    for top, bottom in _runs(changed.any(1)):
        band = changed[top:bottom]
        for left, right in _runs(band.any(0)):
            rows = np.flatnonzero(band[:, left:right].any(1))
            yield (top + int(rows[0]), top + int(rows[-1]) + 1), (left, right)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _pixels(tiles: Rect, size: tuple[int, int]) -> Rect:
    rows, columns = (Span(side.start * TILE_PX, side.stop * TILE_PX) for side in tiles)
    return Rect(rows.within(size[0]), columns.within(size[1]))
