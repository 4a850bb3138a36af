"""The hook of a model: it looks at what one stage gives, and says how the stages behind it are run."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.terminals.dynamic.hooks.config import HookSettings
from nestevo_hw.terminals.dynamic.hooks.learners import Learner, Try, made
from nestevo_hw.terminals.dynamic.hooks.ways import Hooks, Ways
from nestevo_hw.terminals.dynamic.profile import RETRIED, Average, Profile

_LARGEST = 4.0
"""Standard deviations that a descriptor is cut at."""


class Hook:
    """Decides by the learner's probabilities and by the profile's times.

    Args:
        hooks: of the model.
        rungs: ways of its stages, which know them.
        settings: how to decide.
        profile: of the stages.
        margin: share of the look's cost by which a saving must exceed it.
        clock: that looks are measured by, seconds.
    """

    def __init__(
        self, hooks: Hooks, rungs: Sequence[Ways], settings: HookSettings, profile: Profile, margin: float,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.after, self.rungs = hooks.after, tuple(rungs)
        self._settings, self._profile, self._margin, self._clock = settings, profile, margin, clock
        self._middle = hooks.looked.mean(0)
        self._spread = np.maximum(hooks.looked.std(0), 0.05 * np.abs(self._middle).mean() + 1e-6)
        known = (
            Try(self.scaled(row), rung, bool(f1 >= settings.agreement))
            for row, scores in zip(hooks.looked, hooks.agreed, strict=True)
            for rung, f1 in enumerate(scores)
        )
        self.learner: Learner = made(settings.learner, len(self.rungs), len(self._middle), known)
        self.width = len(self._middle)
        """Numbers of a descriptor."""
        self.cost = Average()
        """Seconds of a look."""
        self._refused = 0

    def decide(self, features: NDArray[np.float32]) -> int:
        """The rung, from 1, that stages behind are run by, by what is looked at, (1, C, H, W); 0: none."""
        if not self._worth_a_look():
            return 0
        began = self._clock()
        rung = self.allowed(self.seen(features))
        taken = rung if self.saved_s(rung) > self._least_s else 0
        self.cost.add(self._clock() - began)
        return taken

    def ways(self, rung: int) -> Ways:
        """Of the stages, on a rung."""
        return self.rungs[rung - 1] if rung else {}

    def allowed(self, seen: NDArray[np.float64]) -> int:
        """The lowest rung that is good enough for a frame, as far as is known, and so are all above; 0: none is."""
        good = np.minimum.accumulate(self.learner.sure(seen)) >= self._settings.least_sure
        return int(good.sum())

    def seen(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The descriptor of features, (1, C, H, W)."""
        return self.scaled(pooled(features))

    def scaled(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """A descriptor, of what `pooled` gives."""
        return np.clip((means - self._middle) / self._spread, -_LARGEST, _LARGEST)

    def saved_s(self, rung: int) -> float:
        """Seconds of a frame that a rung is expected to save; without end where that is not known."""
        each = [self._profile.stages[stage].saved_s(way) for stage, way in self.ways(rung).items()]
        return sum(np.inf if one is None else one for one in each)

    @property
    def _least_s(self) -> float:
        return (1 + self._margin) * (self.cost.value or 0.0)

    def _worth_a_look(self) -> bool:
        """Whether the last rung would save more than a look costs; after many refusals it is measured anew."""
        last = len(self.rungs)
        if self.saved_s(last) > self._least_s:
            return True
        self._refused += 1
        if self._refused >= RETRIED:
            self._refused = 0
            for stage, way in self.ways(last).items():
                self._profile.stages[stage].ways.pop(way, None)
        return False


def pooled(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(C,) means of the channels of (1, C, H, W)."""
    flat = features[0].reshape(features.shape[1], -1)
    return np.asarray(flat.mean(1), np.float64)
