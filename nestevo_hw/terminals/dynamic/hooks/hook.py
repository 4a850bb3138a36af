"""The hook of a model: it looks at what one stage gives, and says how the stages behind it are run."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.terminals.dynamic.hooks.config import HookSettings
from nestevo_hw.terminals.dynamic.hooks.learners import Learner, Try, made
from nestevo_hw.terminals.dynamic.hooks.ways import Hooks, Skip, Ways
from nestevo_hw.terminals.dynamic.profile import RETRIED, Average, Profile
from nestevo_hw.terminals.dynamic.stages import Run, Stage, Values

_LARGEST = 4.0
"""Standard deviations that a descriptor is cut at."""
_WARM = 4


class Hook:
    """Decides by the learner's probabilities and by the profile's times.

    Args:
        hooks: of the model; its stages know their ways.
        settings: how to decide.
        profile: of the stages.
        margin: share of the look's cost by which a saving must exceed it.
        clock: that looks are measured by, seconds.
    """

    def __init__(
        self, hooks: Hooks, settings: HookSettings, profile: Profile, margin: float, clock: Callable[[], float]
    ) -> None:
        self.after, self.rungs = hooks.after, hooks.rungs
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

    def decide(self, features: NDArray[np.float32]) -> Ways:
        """Ways of the stages behind, by what the stage before them gave, (1, C, H, W)."""
        if not self._worth_a_look():
            return {}
        began = self._clock()
        rung = self.allowed(self.seen(features))
        ways = {} if rung is None or self.saved_s(rung) <= self._least_s else self.rungs[rung]
        self.cost.add(self._clock() - began)
        return ways

    def allowed(self, seen: NDArray[np.float64]) -> int | None:
        """The lowest rung that is good enough for a frame, as far as is known, and so are all above; None: none is."""
        good = np.minimum.accumulate(self.learner.sure(seen)) >= self._settings.least_sure
        return int(good.sum()) - 1 if good.any() else None

    def seen(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The descriptor of features, (1, C, H, W)."""
        return self.scaled(pooled(features))

    def scaled(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """A descriptor, of what `pooled` gives."""
        return np.clip((means - self._middle) / self._spread, -_LARGEST, _LARGEST)

    def saved_s(self, rung: int) -> float:
        """Seconds of a frame that a rung is expected to save; without end where that is not known."""
        each = [self._profile.stages[stage].saved_s(way) for stage, way in self.rungs[rung].items()]
        return sum(np.inf if one is None else one for one in each)

    @property
    def _least_s(self) -> float:
        return (1 + self._margin) * (self.cost.value or 0.0)

    def _worth_a_look(self) -> bool:
        """Whether the last rung would save more than a look costs; after many refusals it is measured anew."""
        last = len(self.rungs) - 1
        if self.saved_s(last) > self._least_s:
            return True
        self._refused += 1
        if self._refused >= RETRIED:
            self._refused = 0
            for stage, way in self.rungs[last].items():
                self._profile.stages[stage].ways.pop(way, None)
        return False


def _skipping(way: Skip) -> Run:
    return lambda fed: [way(next(iter(fed.values())))]


def pooled(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """(C,) means of the channels of (1, C, H, W)."""
    flat = features[0].reshape(features.shape[1], -1)
    return np.asarray(flat.mean(1), np.float64)


def add_ways(hooks: Hooks, stages: tuple[Stage, ...], values: Values, profile: Profile, threads: int,
             clock: Callable[[], float]) -> None:  # fmt: skip
    """Have stages know the ways of some hooks, and measure each of them on some values.

    Raises:
        InputError: a way does not fit its stage.
    """
    from nestevo_hw.models.onnx.crops.narrowing import inner_of, narrowed

    for stage in stages:
        for name, way in hooks.ways.get(stage.name, {}).items():
            if isinstance(way, Skip):
                stage.add_way(name, _skipping(way))
            else:
                inner = inner_of(stage.model.model)
                assert inner is not None
                try:
                    file = narrowed(stage.model.model, inner, way.kept.tolist(), way.weights, way.bias)
                except (IndexError, ValueError) as error:
                    raise InputError(f"the way {name} of {stage.name} does not fit it; fit the hooks again") from error
                stage.add_way(name, stage.session_way(file, threads))
            for turn in range(_WARM):
                began = clock()
                stage.dense(values, name)
                if turn:
                    profile.stages[stage.name].whole(name).add(clock() - began)
