"""What running has cost so far, stage by stage, and what it would cost next: nothing is looked up, all is measured."""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

import numpy as np

from nestevo_hw.terminals.dynamic.plan import Action, FrameDone, Reason, StageDone

_WEIGHT = 0.1
"""Of the newest value in a moving average."""
_KEPT = 1000
"""Newest times that the 95th percentile is of."""
_FEW = 3
"""Values that a decision is made by: one slow run is none."""
_OVERHEAD = 0.2
"""Of a stage's dense time: what a crop takes whatever its size, until one has been measured."""
_SHARES = (0.01, 0.03, 0.1, 0.2, 0.35)
"""Of the image that changed, between which updates are told apart."""
RETRIED = 200
"""Refusals after which what did not pay is tried again."""
_ENOUGH = 0.1
"""Share of a stage's input whose time tells that of all of it."""


class Average:
    """An exponentially weighted moving average with the 95th percentile of the newest values."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._newest: deque[float] = deque(maxlen=_KEPT)

    def add(self, value: float) -> None:
        """Take one more."""
        self.value = value if self.value is None else self.value + _WEIGHT * (value - self.value)
        self._newest.append(value)

    @property
    def typical(self) -> float | None:
        """Median of the last few values; None before there are enough to go by."""
        return median(islice(reversed(self._newest), _FEW)) if len(self._newest) >= _FEW else None

    @property
    def p95(self) -> float | None:
        """None before the first value."""
        return float(np.percentile(self._newest, 95)) if self._newest else None


@dataclass(slots=True)
class StageProfile:
    """Of one stage."""

    dense: Average = field(default_factory=Average)
    """Seconds of running all of it."""
    ways: dict[str, Average] = field(default_factory=dict)
    """The same of cheaper ways."""
    overhead: Average = field(default_factory=Average)
    """Seconds that a crop takes beside its share of the dense time."""
    seconds: Average = field(default_factory=Average)
    """Of all frames, skipped ones included."""
    share: Average = field(default_factory=Average)
    """Of its input that was computed."""
    bytes: Average = field(default_factory=Average)
    decide: Average = field(default_factory=Average)
    """Seconds for finding out what to do."""
    actions: Counter[str] = field(default_factory=Counter)

    def add(self, done: StageDone) -> None:
        """Take a frame's part."""
        plan = done.plan
        self.actions[plan.did] += 1
        for average, value in ((self.seconds, done.seconds), (self.share, plan.share), (self.bytes, done.bytes)):
            average.add(float(value))
        if plan.action in (Action.DENSE, Action.REGION):
            self.decide.add(done.decide_s)
        whole = self.whole(plan.way)
        if plan.action is Action.DENSE:
            whole.add(done.seconds - done.decide_s)
        elif plan.action is Action.REGION and plan.way:
            if plan.share >= _ENOUGH:
                beside = len(plan.crops) * (self.overhead.typical or 0.0)
                whole.add(max(0.0, done.seconds - done.decide_s - beside) / plan.share)
        elif plan.action is Action.REGION and whole.value is not None:
            beside = done.seconds - done.decide_s - plan.share * whole.value
            self.overhead.add(max(0.0, beside) / len(plan.crops))

    def whole(self, way: str = "") -> Average:
        """Seconds of running all of it, in some way."""
        return self.ways.setdefault(way, Average()) if way else self.dense

    def saved_s(self, way: str) -> float | None:
        """Seconds of a frame that a way saves where about as much of the input is computed as before; None: unknown."""
        dense, cheaper = self.dense.typical, self.whole(way).typical
        if dense is None or cheaper is None:
            return None
        return (dense - cheaper) * (1.0 if self.share.value is None else self.share.value)

    def predicted_s(self, share: float, crops: int, way: str = "") -> float:
        """Seconds of crops of a share of its input."""
        dense = self.whole(way).typical or 0.0
        overhead = self.overhead.typical
        if overhead is None:
            overhead = _OVERHEAD * dense
        return crops * overhead + share * dense

    def worth(self, share: float, crops: int, margin: float, way: str = "") -> bool:
        """Whether crops save more than the deciding costs, by a margin (a share)."""
        dense = self.whole(way).typical
        if dense is None:
            return True
        return dense - self.predicted_s(share, crops, way) > (1 + margin) * (self.decide.value or 0.0)


class Profile:
    """Of a model: its stages, and whole frames.

    Args:
        stages: names, in order.
    """

    def __init__(self, stages: Iterable[str]) -> None:
        self.stages = {name: StageProfile() for name in stages}
        self.frames = Average()
        """Seconds of a frame."""
        self.gate = Average()
        self.fused = Average()
        """Seconds of the whole model as one session."""
        self.hooked = Average()
        """Seconds of the same in two, in cheaper ways where the hook takes them."""
        self.agreement = Average()
        """F1 with the dense result, where both were computed."""
        self.reasons: Counter[Reason] = Counter()
        self.rungs: Counter[int] = Counter()
        """Frames by the rung that the hook took."""
        self._updates = [Average() for _ in (*_SHARES, 1.0)]
        self._refused: Counter[int] = Counter()
        self._unhooked = 0

    def add(self, done: FrameDone, share: float = 0.0) -> None:
        """Take a frame, of whose image a share changed."""
        if done.reason is Reason.CHANGED:
            self._updates[_bucket(share)].add(done.seconds - done.gate_s)
        self.reasons[done.reason] += 1
        if done.rung:
            self.rungs[done.rung] += 1
        self.frames.add(done.seconds)
        self.gate.add(done.gate_s)
        if done.agreement is not None:
            self.agreement.add(done.agreement)
        for stage in done.stages:
            self.stages[stage.plan.stage].add(stage)

    def pays(self, share: float, margin: float, *, unknown: bool = True) -> bool:
        """Whether an update for a change of a share of the image saves more than the gate costs, by a margin.

        Args:
            share: of the image.
            margin: share of the gate's cost.
            unknown: the answer where that is not known yet, or was refused for long.
        """
        bucket = _bucket(share)
        update, dense = self._updates[bucket].typical, self.fused.typical
        if update is None or dense is None:
            return unknown
        if dense - update > (1 + margin) * (self.gate.value or 0.0):
            return True
        self._refused[bucket] += 1
        if self._refused[bucket] >= RETRIED:
            self._refused[bucket], self._updates[bucket] = 0, Average()
        return False

    def hooks_pay(self, least_s: float) -> bool:
        """Whether to run all of a frame as the hook says takes so much less than one session.

        What is not known is tried, and so is, now and then, what did not pay.
        """
        hooked, dense = self.hooked.typical, self.fused.typical
        if hooked is None or dense is None or dense - hooked > least_s:
            return True
        self._unhooked += 1
        if self._unhooked >= RETRIED:
            self._unhooked, self.hooked = 0, Average()
        return False

    @property
    def summary(self) -> "ProfileSummary":
        """As of now."""
        return ProfileSummary(
            frames=self.reasons.total(), reasons={reason.value: n for reason, n in self.reasons.items()},
            rungs={f"rung {rung}": n for rung, n in sorted(self.rungs.items())},
            frame_s=self.frames.value, frame_p95_s=self.frames.p95, gate_s=self.gate.value, fused_s=self.fused.value,
            agreement=self.agreement.value, stages=tuple(_summary(n, stage) for n, stage in self.stages.items()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSummary:
    """Moving averages of a stage; None where there was none yet."""

    name: str
    actions: dict[str, int]
    """Frames by what it did."""
    seconds: float | None
    p95_s: float | None
    dense_s: float | None
    overhead_s: float | None
    decide_s: float | None
    share: float | None
    bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSummary:
    """Moving averages of a model; None where there was none yet."""

    frames: int
    reasons: dict[str, int]
    """Frames by why they were handled as they were."""
    rungs: dict[str, int]
    """Frames for which the hook took a rung of its ladder."""
    frame_s: float | None
    frame_p95_s: float | None
    gate_s: float | None
    fused_s: float | None
    agreement: float | None
    stages: tuple[StageSummary, ...]


def _bucket(share: float) -> int:
    return bisect_right(_SHARES, share)


def _summary(name: str, stage: StageProfile) -> StageSummary:
    return StageSummary(
        name=name, actions=dict(stage.actions), seconds=stage.seconds.value,
        p95_s=stage.seconds.p95, dense_s=stage.dense.value, overhead_s=stage.overhead.value,
        decide_s=stage.decide.value, share=stage.share.value, bytes=stage.bytes.value,
    )  # fmt: skip
