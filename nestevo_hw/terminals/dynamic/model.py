"""A model on a terminal that does no more than a frame needs."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.parts import IMAGE, read_parts
from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.models.onnx.crops.names import LEAST, OBJECTNESS
from nestevo_hw.terminals.dynamic.agreement import f1
from nestevo_hw.terminals.dynamic.chain import Chain
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.exits import Exit
from nestevo_hw.terminals.dynamic.hooks.hook import Hook
from nestevo_hw.terminals.dynamic.hooks.learning import Learning
from nestevo_hw.terminals.dynamic.hooks.rungs import Halves, add_rungs
from nestevo_hw.terminals.dynamic.hooks.ways import Hooks
from nestevo_hw.terminals.dynamic.plan import FrameDone, Reason, StageDone
from nestevo_hw.terminals.dynamic.preparing import Prepared, prepare
from nestevo_hw.terminals.dynamic.profile import Profile
from nestevo_hw.terminals.dynamic.stages import Values, open_session
from nestevo_hw.terminals.dynamic.watch import Seen, Watch
from nestevo_hw.terminals.runtime import Found, Frame


class DynamicModel:
    """A path through a supernet's parts, whose results are kept where frames do not change.

    Frames come in order, (H, W, 3) RGB bytes of the size that the parts are for; each is left as it is by the caller.

    Args:
        prepared: the model's stages.
        settings: when to save.
        clock: that it measures itself by, seconds.
    """

    def __init__(
        self,
        prepared: Prepared,
        settings: DynamicSettings | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self.settings = settings or DynamicSettings()
        self.parts, self.outputs, self.prepared = prepared.parts, prepared.outputs, prepared
        self.profile = Profile(stage.name for stage in prepared.stages)
        self.chain = Chain(prepared, self.settings, self.profile, clock)
        self.watch = Watch(self.settings)
        self._fused = open_session(prepared.fused, self.settings.threads, "the whole model")
        # The first run of a session is slow.
        black = np.zeros((*prepared.parts.image[1:], 3), np.uint8)
        self.chain.dense(black)
        self._run_whole(self.chain.load(black))
        self._found: Found | None = None
        self._dense_in_a_row, self._moving_for = 0, 0
        self.learning: Learning | None = None
        """Of the hook, if there is one."""
        self.last: FrameDone | None = None
        """What the last frame took."""

    @classmethod
    def open(
        cls, folder: Path, path: BranchPath | None = None, settings: DynamicSettings | None = None
    ) -> "DynamicModel":
        """The model of a path in a folder of `nestevo-hw elastic build`, its base without one.

        Raises:
            InputError: the folder is damaged.
        """
        parts = read_parts(folder)
        return cls(prepare(folder, parts, path or parts.space.base), settings)

    def use_exits(self, exits: Mapping[str, Exit]) -> None:
        """End a frame early where a stage's head is sure.

        Raises:
            InputError: the model is a detector, or heads are of other stages, or of features of another width.
        """
        if self.parts.kind != "classification":
            raise InputError("early exits are for classifiers; a detector leaves out regions by their objectness")
        stages = {stage.name: stage for stage in self.chain.stages}
        for name, head in exits.items():
            given = list(stages[name].model.gives.values()) if name in stages else []
            if len(given) != 1:
                raise InputError(f"early exits are of a stage {name!r}, which this model has not; fit them again")
            if head.weights.shape[0] != self.chain.values[given[0]].shape[1] + 1:
                raise InputError(f"the early exit after {name} is of other features; fit it again")
        self.chain.exits = dict(exits)

    def use_hooks(self, hooks: Hooks) -> Learning:
        """Run stages in cheaper ways where a hook is sure enough that this is good enough.

        Returns:
            What teaches the hook; it is offered frames, and works when it is told to.

        Raises:
            InputError: they do not fit the model, or no stage gives what the hook looks at: prepare it with that `cut`.
        """
        settings, chain = self.settings.hooks, self.chain
        threads = self.settings.threads
        if not any(hooks.after in stage.model.gives.values() for stage in chain.stages):
            raise InputError(f"no stage of this model gives {hooks.after!r}; fit the hooks again")
        if hooks.looked.shape[1] != (width := chain.values[hooks.after].shape[1]):
            raise InputError(f"{hooks.after!r} has {width} channels, these hooks know {hooks.looked.shape[1]}; "
                             "fit the hooks again")  # fmt: skip
        rungs = add_rungs(hooks, chain.stages, chain.values, self.profile, threads, self._clock)
        halves = Halves(self.prepared, hooks, chain.values, threads)
        chain.hook = Hook(hooks, rungs, settings, self.profile, self.settings.margin, self._clock)
        self.learning = Learning(chain.hook, halves, settings)
        return self.learning

    def look(self, frame: Frame) -> Found:
        """What is on a frame.

        Raises:
            InputError: it is of another size than the model, or a stage fails on it.
        """
        if frame.shape != (*self.parts.image[1:], 3):
            height, width = self.parts.image[1:]
            raise InputError(
                f"the model takes frames of {width} x {height} pixels, got shape {frame.shape}; resize them"
            )
        began = self._clock()
        seen = self._see(frame)
        gate_s = self._clock() - began
        self.chain.rung = 0
        stages, agreement = self._do(frame, seen)
        assert self._found is not None
        self.watch.passed(frame)
        self.last = FrameDone(
            reason=seen.reason, changed=seen.changed, stages=stages, gate_s=gate_s,
            seconds=self._clock() - began, rung=self.chain.rung, agreement=agreement,
        )  # fmt: skip
        self.profile.add(self.last, seen.share)
        if self.learning is not None:
            self.learning.offer(frame, self.last.seconds, computed=seen.reason is not Reason.STILL)
        return self._found

    def _see(self, frame: Frame) -> Seen:
        """What a frame asks for, in view of what saving has brought so far."""
        if self._moving_for:
            return self._see_moving(frame)
        seen = self.watch.see(frame)
        if seen.reason is Reason.FIRST:
            return seen
        if seen.reason is not Reason.LIGHT and self.watch.due:
            return Seen(Reason.KEY, seen.changed, seen.share)
        if self._pays(seen):
            self._dense_in_a_row = 0
            return seen
        self._dense_in_a_row += 1
        if self._dense_in_a_row <= self.settings.moving_frames:
            return Seen(Reason.LIGHT if seen.reason is Reason.LIGHT else Reason.MUCH)
        self._moving_for = 1
        return _MOVING

    def _see_moving(self, frame: Frame) -> Seen:
        """While no stage is kept: now and then, whether frames have become alike again."""
        self._moving_for += 1
        if self._moving_for % self.settings.look_every:
            return _MOVING
        if not self._pays(self.watch.moved_since_last(frame), unknown=False):
            return _MOVING
        self._moving_for = self._dense_in_a_row = 0
        return Seen(Reason.CALM)

    def _pays(self, seen: Seen, *, unknown: bool = True) -> bool:
        """Whether to update the stages is expected to take less than the whole model."""
        if seen.reason is Reason.STILL:
            return True
        if seen.reason is not Reason.CHANGED or seen.share > self.settings.dense_above:
            return False
        return self.profile.pays(seen.share, self.settings.margin, unknown=unknown)

    def _do(self, frame: Frame, seen: Seen) -> tuple[tuple[StageDone, ...], float | None]:
        """Bring the result up to date; stages that ran, and the agreement with the dense result if both are known."""
        match seen.reason:
            case Reason.STILL:
                return (), None
            case Reason.CHANGED:
                return self._update(frame, seen), None
            case Reason.MOVING:
                self._found = self._moving(frame)
                return (), None
            case Reason.KEY if seen.share <= self.settings.dense_above:
                return self._audited(frame, seen)
            case Reason.FIRST:
                self._whole(frame)  # so that it is known what the model takes as one session
        return self._dense(frame), None

    def _update(self, frame: Frame, seen: Seen) -> tuple[StageDone, ...]:
        stages = self.chain.update(frame, seen.changed)
        self.watch.take(frame, seen.changed)
        early = self.chain.early
        self._found = self.prepared.read(self.chain.values if early is None else {self.outputs[0]: early})
        return stages

    def _dense(self, frame: Frame) -> tuple[StageDone, ...]:
        stages = self.chain.dense(frame)
        self.watch.take(frame, None)
        self._found = self.prepared.read(self.chain.values)
        return stages

    def _audited(self, frame: Frame, seen: Seen) -> tuple[tuple[StageDone, ...], float | None]:
        """A key frame, before which the saving result is made as well, to be held against the dense one."""
        if seen.changed:
            self._update(frame, seen)
        saved = self._found
        stages = self._dense(frame)
        assert saved is not None
        assert self._found is not None
        return stages, f1(saved, self._found)

    def _moving(self, frame: Frame) -> Found:
        """Run all of a frame: as one session, or in two, the second as the hook says, whichever takes less."""
        due, learning, chain = self._moving_for % self.settings.key_every == 0, self.learning, self.chain
        if learning is None or due:
            return self._whole(frame)
        hook, halves = learning.hook, learning.halves
        # What halves took has the hook's cost in it.
        if not self.profile.hooks_pay(self.settings.margin * (hook.cost.value or 0.0)):
            return self._whole(frame)
        began = self._clock()
        between = halves.first(chain.load(frame))
        chain.rung = hook.decide(between[hook.after])
        found = halves.second(between, chain.rung, chain.regions, chain.least)
        self.profile.hooked.add(self._clock() - began)
        return found

    def _whole(self, frame: Frame) -> Found:
        began = self._clock()
        found = self.prepared.read(self._run_whole(self.chain.load(frame)))
        self.profile.fused.add(self._clock() - began)
        return found

    def _run_whole(self, image: NDArray[np.float32]) -> Values:
        if not self.prepared.proposes:
            return dict(zip(self.outputs, self._fused.run(list(self.outputs), {IMAGE: image}), strict=True))
        names = [*self.outputs, OBJECTNESS]
        return self.chain.regions.settle(
            self.chain.least,
            lambda least: dict(zip(names, self._fused.run(names, {IMAGE: image, LEAST: least}), strict=True)),
        )


_MOVING = Seen(Reason.MOVING)
