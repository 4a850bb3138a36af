"""Cameras, models and scores that the experiments share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from torch import nn
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.task import headline

TASK = Detection()
MODELS = {
    "teacher": "fasterrcnn-tiny",
    "M1": "fasterrcnn-tiny-m1",
    "M2": "fasterrcnn-tiny-m2",
    "M3": "fasterrcnn-tiny-m3",
}
"""The shipped teacher, and its copies pruned by 30, 50 and 70 %."""
STRENGTH = 0.6
"""Of drift, as in the embedded default."""
_SPACING, _LATER_SPACING, _SETTLE = 5, 43, 20
"""Frames of a stream between two uploaded ones, between two to score on, and between both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A fixed camera."""

    name: str
    """Of another name, a place shows another street."""
    place: str
    kind: str = ""
    """Of drift; none by day."""

    def stream(self, seed: int) -> SyntheticStream:
        """What it sees."""
        segments = (DriftSegment(start=0, kind=self.kind, strength=STRENGTH),) if self.kind else ()
        camera = derive_seed(seed, "reproduce", self.name)
        return SyntheticStream(name=self.name, place=self.place, seed=camera, drift=DriftScript(segments=segments))

    def uploaded(self, seed: int, effort: Effort, share: float = 1.0) -> FrameBatch:
        """Frames to learn from; `share` of them as of a camera with fewer frames a second."""
        count = max(1, round(share * effort.uploaded))
        return self.stream(seed).read([round(k * _SPACING / share) for k in range(count)])

    def later(self, seed: int, effort: Effort) -> FrameBatch:
        """Frames after these, to score on."""
        start = effort.uploaded * _SPACING + _SETTLE
        return self.stream(seed).read([start + k * _LATER_SPACING for k in range(effort.tested)])


def model_named(name: str) -> FasterRCNN:
    """A fresh copy of one of `MODELS`."""
    return load_pretrained(MODELS[name])


@cache
def teacher() -> FasterRCNN:
    """The digital teacher; nobody trains this copy."""
    return model_named("teacher")


def scores(model: nn.Module, frames: FrameBatch) -> dict[str, float]:
    """map50, map75 and map of a model on frames with their truth."""
    return TASK.score(TASK.predict(model, frames.images), frames.truth or (), len(CLASSES))


def accuracy(model: nn.Module, frames: FrameBatch) -> float:
    """mAP@0.50 of a model on frames with their truth."""
    return headline(scores(model, frames))


def mean_of(values: Sequence[float]) -> float:
    """Mean of some figures."""
    return sum(values) / len(values)
