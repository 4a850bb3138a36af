"""A dynamic model beside the dense one on the same frames, in turns."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.parts import IMAGE
from nestevo_hw.models.onnx.crops.names import LEAST
from nestevo_hw.terminals.dynamic.agreement import f1
from nestevo_hw.terminals.dynamic.chain import Chain
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.hooks.ways import Hooks
from nestevo_hw.terminals.dynamic.model import DynamicModel
from nestevo_hw.terminals.dynamic.preparing import Prepared
from nestevo_hw.terminals.dynamic.profile import Profile
from nestevo_hw.terminals.dynamic.stages import as_floats, open_session
from nestevo_hw.terminals.judging import mean_precision, same_class
from nestevo_hw.terminals.runtime import Found, Frame

FUSED, CHAINED, EXACT, APPROXIMATE = ARMS = ("fused", "chained", "exact", "approximate")
"""The whole model as one session; its stages, all of them each frame; and the dynamic model in either mode."""
HOOKED = "hooks"
"""The dynamic model in exact mode but for a hook's cheaper ways; what it learns from is tried between its frames."""
SURE = 0.5
"""Score from which on what the dense model finds counts as truth, where there is no other."""


class Arm(Protocol):
    """One way to run the model."""

    def look(self, frame: Frame) -> Found:
        """What is on a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """One arm over all frames; the time to decode a frame is in."""

    arm: str
    mean_s: float
    median_s: float
    p95_s: float
    processor_mean_s: float
    """The same of processor time, which other programs on the machine change less."""
    processor_median_s: float
    processor_p95_s: float
    agreement: float
    """Mean F1 with what the fused model finds."""
    score: float
    """mAP@0.50, or share of right classes: against the truth, without one against what the fused model is sure of."""
    reasons: dict[str, int]
    """Frames by why a dynamic model handled them as it did."""
    learning_s: float = 0.0
    """Processor time of a frame, in the mean, that trying took beside it; in none of the other times."""


@dataclass(slots=True)
class _Times:
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)


class _Fused:
    def __init__(self, prepared: Prepared, settings: DynamicSettings) -> None:
        self._session, self._prepared = open_session(prepared.fused, settings.threads, "the whole model"), prepared
        self._image = np.empty((1, *prepared.parts.image), np.float32)

    def look(self, frame: Frame) -> Found:
        as_floats(frame, self._image[0])
        all_regions = {LEAST: _NONE} if self._prepared.proposes else {}
        names = self._prepared.outputs
        given = self._session.run(list(names), {IMAGE: self._image, **all_regions})
        return self._prepared.read(dict(zip(names, given, strict=True)))


_NONE = np.array(0, np.float32)


class _Chained:
    def __init__(self, prepared: Prepared, settings: DynamicSettings) -> None:
        profile = Profile(stage.name for stage in prepared.stages)
        self._chain, self._prepared = Chain(prepared, settings, profile, time.perf_counter), prepared

    def look(self, frame: Frame) -> Found:
        self._chain.dense(frame)
        return self._prepared.read(self._chain.values)


def compare(
    prepared: Prepared,
    frames: Iterable[Frame],
    settings: DynamicSettings,
    *,
    truth: list[Found] | None = None,
    hooks: Hooks | None = None,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[[str], None] = lambda _: None,
) -> list[ArmResult]:
    """Run every arm on every frame, in an order that is drawn anew for each.

    Args:
        prepared: the model.
        frames: of its size; each is decoded once, and the time of that counts for every arm.
        settings: of the dynamic arms, but for their mode.
        truth: of each frame; None: what the fused model is sure of.
        hooks: of the model, which have an arm of their own then.
        clock: that the dynamic arms decide by.
        advance: told about each frame.

    Raises:
        InputError: there are no frames.
    """
    arms = _arms(prepared, settings, hooks, clock)
    times = {name: _Times() for name in arms}
    # Not in turns: what runs right before decides what is in the processor's caches.
    source, names, draw, number = iter(frames), list(arms), np.random.default_rng(0), 0
    while True:
        began, worked = time.perf_counter(), time.process_time()
        frame = next(source, None)
        decode_s, decode_work = time.perf_counter() - began, time.process_time() - worked
        if frame is None:
            break
        for name in (names[k] for k in draw.permutation(len(names))):
            began, worked = time.perf_counter(), time.process_time()
            times[name].found.append(arms[name].look(frame))
            times[name].wall.append(time.perf_counter() - began + decode_s)
            times[name].processor.append(time.process_time() - worked + decode_work)
            _learn(arms[name])
        number += 1
        advance(f"frame {number}")
    if not number:
        raise InputError("the source shows no frames; give another one")
    return [_result(name, arms[name], times, prepared, truth) for name in arms]


def _arms(
    prepared: Prepared, settings: DynamicSettings, hooks: Hooks | None, clock: Callable[[], float]
) -> dict[str, Arm]:
    arms: dict[str, Arm] = {
        FUSED: _Fused(prepared, settings), CHAINED: _Chained(prepared, settings),
        EXACT: DynamicModel(prepared, replace(settings, mode="exact"), clock=clock),
        APPROXIMATE: DynamicModel(prepared, replace(settings, mode="approximate"), clock=clock),
    }  # fmt: skip
    if hooks is not None:
        hooked = DynamicModel(prepared, replace(settings, mode="exact"), clock=clock)
        hooked.use_hooks(hooks)
        arms[HOOKED] = hooked
    return arms


def _learn(arm: Arm) -> None:
    """What a terminal does between frames."""
    if isinstance(arm, DynamicModel) and arm.learning is not None:
        arm.learning.work()


def _result(name: str, arm: Arm, times: dict[str, _Times], prepared: Prepared, truth: list[Found] | None) -> ArmResult:
    mine, dense = times[name], times[FUSED].found
    rate = mean_precision if prepared.parts.kind == "detection" else same_class
    against = truth if truth is not None else [found.above(SURE) for found in dense]
    # The first frames calibrate, which is no part of running.
    wall, processor = (np.array(one[_settling(len(one)) :]) for one in (mine.wall, mine.processor))
    reasons = arm.profile.summary.reasons if isinstance(arm, DynamicModel) else {}
    learning = arm.learning if isinstance(arm, DynamicModel) else None
    return ArmResult(
        arm=name, mean_s=float(wall.mean()), median_s=float(np.median(wall)), p95_s=float(np.percentile(wall, 95)),
        processor_mean_s=float(processor.mean()), processor_median_s=float(np.median(processor)),
        processor_p95_s=float(np.percentile(processor, 95)),
        agreement=float(np.mean([f1(found, whole) for found, whole in zip(mine.found, dense, strict=True)])),
        score=rate(mine.found, against), reasons=reasons,
        learning_s=learning.seconds / len(mine.found) if learning else 0.0,
    )  # fmt: skip


def _settling(frames: int) -> int:
    """First frames that do not count."""
    return min(20, frames // 4)
