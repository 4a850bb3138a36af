"""What each stage does in a frame, and why: the seam at which something else may decide."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from nestevo_hw.models.onnx.crops.geometry import Crop
from nestevo_hw.models.onnx.crops.spans import Rect

Changed = Mapping[str, Rect]
"""Where tensors of the whole model have changed, by name."""


class Action(StrEnum):
    """What a stage does."""

    DENSE = "dense"
    """All of it is run."""
    REGION = "region"
    """It is run on crops."""
    SKIP = "skip"
    """It is not run: there is nothing for it to do."""
    REUSE = "reuse"
    """What it gave before still holds."""


class Reason(StrEnum):
    """Why a frame is handled as it is."""

    FIRST = "first"
    """Nothing is known yet, or the noise of the camera is being calibrated."""
    KEY = "key"
    """It was due."""
    LIGHT = "light"
    """All of the image became brighter or darker."""
    MUCH = "much"
    """So much changed that to run all of it takes less."""
    CALM = "calm"
    """The camera stands still again."""
    MOVING = "moving"
    """Saving would cost more than it saves, frame after frame: one session runs the whole model."""
    CHANGED = "changed"
    """Parts of the image changed."""
    STILL = "still"
    """Nothing changed."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Of one stage in one frame."""

    stage: str
    action: Action
    crops: tuple[Crop, ...] = ()
    """That a REGION is run on."""
    way: str = ""
    """Cheaper one that is taken; "": the stage as it is."""

    @property
    def did(self) -> str:
        """In words."""
        return f"{self.action} {self.way}".rstrip()

    @property
    def share(self) -> float:
        """Of the stage's input that is computed."""
        if self.action is Action.REGION:
            return sum(crop.share for crop in self.crops)
        return float(self.action is Action.DENSE)


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage's part of a frame, measured."""

    plan: StagePlan
    seconds: float
    decide_s: float = 0.0
    """Of it, for finding out what to do."""
    bytes: int = 0
    """Of tensors that it took and gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameDone:
    """A frame, measured."""

    reason: Reason
    changed: tuple[Rect, ...]
    """Of the image, pixels."""
    stages: tuple[StageDone, ...]
    gate_s: float
    """For finding what has changed."""
    seconds: float
    """In all, from the frame's bytes to objects."""
    rung: int = 0
    """Of the ladder, that stages behind the hook were run by; 0: none."""
    agreement: float | None = None
    """F1 with the dense result of the same frame, where both were computed."""
