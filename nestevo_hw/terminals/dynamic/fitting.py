"""Frames of a camera at the size that a model takes."""

from collections.abc import Iterable, Iterator

import av
import numpy as np

from nestevo_hw.terminals.runtime import Frame


def fitted(frames: Iterable[Frame], size: tuple[int, int]) -> Iterator[Frame]:
    """Frames stretched to (H, W), by areas; those of that size as they are."""
    for frame in frames:
        if frame.shape[:2] == size:
            yield frame
            continue
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        yield picture.reformat(width=size[1], height=size[0], interpolation="AREA").to_ndarray(format="rgb24")
