"""How many regions a detector looks at: no more than can be among its surest."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.models.onnx.crops.names import LEAST, OBJECTNESS
from nestevo_hw.terminals.dynamic.stages import Stage, Values

_BELOW = 0.1
"""Of the objectness of the last region that a frame gave: less sure ones are hardly among the next frame's. Half of it
saves as much, but of 300 frames of a panning camera 18 to 24 were made twice; with this none."""


class Regions:
    """Leaves out regions, before all are compared, that would not be among those that are given.

    Suppression goes from the surest region to the least sure one, so that what is less sure decides nothing above it:
    as long as the most regions that are ever given are found among the surer ones, the result is the same. Otherwise it
    is made once more, of all.

    Args:
        most: regions that are given, if there are more; None: not known, and none are left out but by the floor.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._last: float | None = None

    def given(self, stage: Stage, values: Values, floor: float, way: str = "") -> Values:
        """What a stage makes of the values; regions less sure to hold something than `floor` are left out."""
        if stage.model.kind != "proposals":
            return stage.dense(values, way)
        return self.settle(floor, lambda least: stage.dense({**values, LEAST: least}))

    def settle(self, floor: float, run: Callable[[NDArray[np.float32]], Values]) -> Values:
        """What a model gives with all regions that are at least so sure.

        Args:
            floor: objectness, 0 to 1.
            run: it, told below which objectness regions are left out.
        """
        least = floor if self._last is None else max(floor, _BELOW * self._last)
        given = run(np.array(least, np.float32))
        if least > floor and len(given[OBJECTNESS]) != self._most:
            given = run(np.array(floor, np.float32))
        scores = given[OBJECTNESS]
        self._last = float(scores[-1]) if self._most and len(scores) == self._most else None
        return given
