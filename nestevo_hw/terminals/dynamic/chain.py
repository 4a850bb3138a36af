"""The stages of a model one after another: all of them, or what a change of the image asks for."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.models.elastic.parts import IMAGE
from nestevo_hw.models.onnx.crops.geometry import Crop
from nestevo_hw.models.onnx.crops.names import REGIONS
from nestevo_hw.models.onnx.crops.spans import Rect, whole
from nestevo_hw.terminals.dynamic.config import DynamicSettings
from nestevo_hw.terminals.dynamic.exits import Exit, entropy
from nestevo_hw.terminals.dynamic.hooks.hook import Hook
from nestevo_hw.terminals.dynamic.plan import Action, StageDone, StagePlan
from nestevo_hw.terminals.dynamic.preparing import Prepared
from nestevo_hw.terminals.dynamic.profile import Profile
from nestevo_hw.terminals.dynamic.proposing import Regions
from nestevo_hw.terminals.dynamic.stages import Stage, Values, as_floats, beyond, bytes_of
from nestevo_hw.terminals.runtime import Frame


class Chain:
    """Runs the stages and keeps what each gave last.

    Args:
        prepared: the model.
        settings: when to save.
        profile: of the stages, which is asked what a saving is worth.
        clock: that they are measured by, seconds.
    """

    def __init__(
        self, prepared: Prepared, settings: DynamicSettings, profile: Profile, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._settings, self._profile = settings, profile
        self.stages = tuple(Stage(model, settings.threads) for model in prepared.stages)
        self.values: Values = {IMAGE: np.zeros((1, *prepared.parts.image), np.float32)}
        """All tensors between stages, as of the reference image."""
        approximate = settings.mode == "approximate"
        self._tolerance = settings.tolerance if approximate else None
        self.least = settings.least_objectness if approximate else 0.0
        """Objectness below which regions are left out."""
        self.regions = Regions(prepared.most_regions)
        self.exits: Mapping[str, Exit] = {}
        """Early exits of a classifier by stage."""
        self.early: NDArray[np.float32] | None = None
        """(1, K) logits of the last update, where it ended early."""
        self.hook: Hook | None = None
        self.rung = 0
        """That stages of the frame behind the hook take; 0: none."""
        self._waiting: list[dict[str, Rect]] = []
        """Changes that stages behind an early exit have not seen yet."""

    def dense(self, frame: Frame) -> tuple[StageDone, ...]:
        """Run all stages on a frame, and leave nothing out."""
        self.load(frame)
        self.early, self._waiting, self.rung = None, [], 0
        done = list[StageDone]()
        for stage in self.stages:
            began = self._clock()
            self.values |= self.regions.given(stage, self.values, 0.0)
            plan = StagePlan(stage.name, Action.DENSE)
            done.append(StageDone(plan, self._clock() - began, 0.0, bytes_of(stage, self.values)))
            if self._tolerance is not None and stage.model.kind == "features":
                stage.note_scales({name: self.values[name] for name in stage.model.gives.values()})
        return tuple(done)

    def update(self, frame: Frame, changed: tuple[Rect, ...]) -> tuple[StageDone, ...]:
        """Run what parts of the image that changed ask for."""
        for rect in changed:
            self.load(frame, rect)
        live = [*self._waiting, *({IMAGE: rect} for rect in changed)]
        self.early, self._waiting, self.rung = None, [], 0
        done = list[StageDone]()
        for index, stage in enumerate(self.stages):
            done.append(self._stage(stage, live))
            if done[-1].plan.action is not Action.REUSE:
                self._look(stage)
            if stage.name in self.exits and self._ends_at(stage, self.exits[stage.name]):
                self._waiting = self._unseen(live, self.stages[index + 1 :])
                done += [StageDone(StagePlan(one.name, Action.SKIP), 0.0) for one in self.stages[index + 1 :]]
                break
        return tuple(done)

    def _look(self, stage: Stage) -> None:
        """Have the hook decide, if it looks at what this stage gave."""
        if self.hook is not None and self.hook.after in stage.model.gives.values():
            self.rung = self.hook.decide(self.values[self.hook.after])

    def _way(self, stage: Stage) -> str:
        """That a stage of the frame takes."""
        return "" if self.hook is None else self.hook.ways(self.rung).get(stage.name, "")

    def _ends_at(self, stage: Stage, head: Exit) -> bool:
        """Whether a stage's head is sure; its answer is kept then."""
        (name,) = stage.model.gives.values()
        logits = head.logits(self.values[name])
        sure = bool(entropy(logits)[0] < head.entropy)
        self.early = logits.astype(np.float32) if sure else None
        return sure

    def _unseen(self, live: list[dict[str, Rect]], stages: Sequence[Stage]) -> list[dict[str, Rect]]:
        """What of some changes stages have still to see, as one change."""
        names = {name for stage in stages for name in stage.model.takes.values()}
        unseen = _together([{name: rect for name, rect in one.items() if name in names} for one in live])
        return [unseen] if unseen else []

    def load(self, frame: Frame, rect: Rect | None = None) -> NDArray[np.float32]:
        """Take bytes of a frame, or a part of it, over as floats in 0..1, channels first.

        Returns:
            (1, 3, H, W) all of the image.
        """
        rect = rect or whole((frame.shape[0], frame.shape[1]))
        image: NDArray[np.float32] = self.values[IMAGE]
        source = frame[rect.rows.start : rect.rows.stop, rect.columns.start : rect.columns.stop]
        as_floats(source, image[0][rect.slices])
        return image

    def _stage(self, stage: Stage, live: list[dict[str, Rect]]) -> StageDone:
        """One stage for all changes, of which each learns where the stage's outputs change with it."""
        began = self._clock()
        touching = [one for one in live if not one.keys().isdisjoint(stage.model.takes.values())]
        if not touching:
            return StageDone(StagePlan(stage.name, Action.REUSE), self._clock() - began)
        if stage.model.kind == "objects" and REGIONS in self.values and not len(self.values[REGIONS]):
            self.values |= {name: np.empty(shape, dtype) for name, (shape, dtype) in _NO_OBJECTS.items()}
            return StageDone(StagePlan(stage.name, Action.SKIP), self._clock() - began)
        plan, ones = self.plan(stage, touching)
        if len(ones) == 1 and ones[0] not in touching:
            live[:] = [one for one in live if one not in touching] + ones
        decided = self._clock()
        moved = 0
        if plan.action is Action.REGION:
            for one, crop in zip(ones, plan.crops, strict=True):
                places, count = stage.region(self.values, crop, self._tolerance, plan.way)
                one.update(places)
                moved += count
        elif plan.action is Action.DENSE:
            moved = self._whole(stage, ones, plan.way)
        return StageDone(plan, self._clock() - began, decided - began, moved)

    def plan(self, stage: Stage, touching: list[dict[str, Rect]]) -> tuple[StagePlan, list[dict[str, Rect]]]:
        """What a stage does about changes of its inputs, and these, which may have become one."""
        whole = StagePlan(stage.name, Action.DENSE, way=self._way(stage))
        if stage.model.network is None:
            return whole, touching
        plan, ones = self._apart(stage, touching)
        if plan is None and len(touching) > 1:
            touching = [_together(touching)]
            plan, ones = self._apart(stage, touching)
        return (plan, ones) if plan else (whole, touching)

    def _apart(self, stage: Stage, touching: list[dict[str, Rect]]) -> tuple[StagePlan | None, list[dict[str, Rect]]]:
        """A crop for each change that the outputs change with, if that is worth it."""
        crops, ones = list[Crop](), list[dict[str, Rect]]()
        for one in touching:
            crop = stage.crop_for(one)
            if crop is None:
                return None, touching
            if crop.gives:
                crops.append(crop)
                ones.append(one)
        if not ones:
            return StagePlan(stage.name, Action.REUSE), []
        plan = StagePlan(stage.name, Action.REGION, tuple(crops), self._way(stage))
        enough = plan.share <= self._settings.dense_above
        profile = self._profile.stages[stage.name]
        worth = enough and profile.worth(plan.share, len(crops), self._settings.margin, plan.way)
        return (plan if worth else None), ones

    def _whole(self, stage: Stage, touching: list[dict[str, Rect]], way: str) -> int:
        """Run all of a stage because of some changes, and tell them where its outputs change."""
        given = self.regions.given(stage, self.values, self.least, way)
        network = stage.model.network
        for one in touching:
            own = {own: one[name] for own, name in stage.model.takes.items() if name in one}
            if network is None:
                one.update({name: _all_of(value.shape) for name, value in given.items() if value.ndim > 1})
            else:
                one.update({stage.model.gives[name]: rect for name, rect in network.changed(own).items()})
        if self._tolerance is not None and network is not None:
            self._take_large(stage, given, touching)
        else:
            self.values |= given
        return bytes_of(stage, self.values)

    def _take_large(self, stage: Stage, given: Values, touching: list[dict[str, Rect]]) -> None:
        """Take outputs over where they changed by more than the tolerance."""
        for name, value in given.items():
            rect = beyond(value, self.values[name], (self._tolerance or 0.0) * stage.scales.get(name, 0.0))
            for one in touching:
                one.pop(name, None)
            if rect is not None:
                self.values[name][rect.slices] = value[rect.slices]
                touching[0][name] = rect


_NO_OBJECTS = {"boxes": ((0, 4), np.float32), "labels": ((0,), np.int64), "scores": ((0,), np.float32)}


def _together(changes: list[dict[str, Rect]]) -> dict[str, Rect]:
    """One change in place of several."""
    found = dict[str, Rect]()
    for one in changes:
        found.update({name: rect.hull(found.get(name)) for name, rect in one.items()})
    return found


def _all_of(shape: tuple[int, ...]) -> Rect:
    return whole((shape[-2], shape[-1]))
