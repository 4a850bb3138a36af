"""A model's stages run beside its chain, on values of their own: all as they are, then some in cheaper ways."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from nestevo_hw.models.elastic.parts import IMAGE
from nestevo_hw.terminals.dynamic.hooks.ways import Ways
from nestevo_hw.terminals.dynamic.preparing import Prepared
from nestevo_hw.terminals.dynamic.proposing import Regions
from nestevo_hw.terminals.dynamic.stages import Stage, Values, as_floats
from nestevo_hw.terminals.runtime import Found, Frame


class Trial:
    """Runs frames densely, and again in other ways.

    Args:
        prepared: the model.
        stages: of it.
        clock: that stages are measured by, seconds.
    """

    def __init__(
        self, prepared: Prepared, stages: Sequence[Stage], clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._prepared, self._stages, self.clock = prepared, stages, clock
        self._regions = Regions(prepared.most_regions)
        self.values: Values = {IMAGE: np.empty((1, *prepared.parts.image), np.float32)}
        """Of the last dense frame, as it is without cheaper ways."""

    def dense(self, frame: Frame) -> tuple[Found, dict[str, float]]:
        """What is on a frame, and seconds of each stage."""
        as_floats(frame, self.values[IMAGE][0])
        return self._run(self.values, self._stages, {})

    def along(self, ways: Ways) -> tuple[Found, dict[str, float]]:
        """The same of the last dense frame, in some ways; stages before the first of these are not run again."""
        first = next((k for k, stage in enumerate(self._stages) if stage.name in ways), len(self._stages))
        return self._run(dict(self.values), self._stages[first:], ways)

    def _run(self, values: Values, stages: Sequence[Stage], ways: Ways) -> tuple[Found, dict[str, float]]:
        took = {}
        for stage in stages:
            began = self.clock()
            values |= self._regions.given(stage, values, 0.0, ways.get(stage.name, ""))
            took[stage.name] = self.clock() - began
        return self._prepared.read(values), took
