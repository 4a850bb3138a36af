"""Frames of a camera at the size that a model takes, and boxes back."""

from collections.abc import Iterable, Iterator

import av
import numpy as np

from nestevo_hw.terminals.runtime import Found, Frame


def fitted(frames: Iterable[Frame], size: tuple[int, int]) -> Iterator[Frame]:
    """Frames stretched to (H, W), by areas; those of that size as they are."""
    for frame in frames:
        if frame.shape[:2] == size:
            yield frame
            continue
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        yield picture.reformat(width=size[1], height=size[0], interpolation="AREA").to_ndarray(format="rgb24")


def stretched(found: Found, taken: tuple[int, int], given: tuple[int, int]) -> Found:
    """Boxes on a frame of (H, W) `taken`, as they lie on one of (H, W) `given`."""
    scale = np.array([given[1] / taken[1], given[0] / taken[0]] * 2, np.float32)
    return Found(found.boxes * scale, found.labels, found.scores)
