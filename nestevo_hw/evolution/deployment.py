"""Deployment: which of its models a terminal runs next, judged on uploaded frames that no training has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.base.stats import mean
from nestevo_hw.evolution.trigger import self_agreement
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.models.onnx.manifest import Colour
from nestevo_hw.report.records.terminal import Candidate
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.supervision import Supervision
from nestevo_hw.tasks.task import VisionTask, headline


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentConfig:
    """How an evolved model proves itself before a terminal runs it, and how it is handed over."""

    held_back: Annotated[float, Range(0, 0.5)] = 0.15
    """Share of the uploaded frames, the last ones, that no training sees; 0 deploys every evolved model untried, and
    so do methods without labels, which leave nothing to judge by."""
    margin: Annotated[float, SHARE] = 0.05
    """By which the old or the BatchNorm-adapted model has to do better than the evolved one on these few frames to be
    run in its place: they make too little of what a model has learned."""
    colour: Colour = "rgb"
    """Order of the channels of the frames that the deployed model is given: rgb, or bgr as OpenCV reads them."""
    score: Annotated[float, SHARE] = 0.5
    """Least score of what the deployed model reports."""

    def taught(self, frames: int) -> int:
        """How many of the uploaded frames are learned from: all but the held-back ones, which are the last.

        A single frame is learned from.
        """
        held_back = max(round(self.held_back * frames), 1) if self.held_back else 0
        return max(frames - held_back, min(frames, 1))

    def taught_of[T](self, found: Sequence[T]) -> Sequence[T]:
        """Of something for each uploaded frame that for those learned from."""
        return found[: self.taught(len(found))]


def testimonies(
    task: VisionTask,
    candidates: Mapping[Candidate, Path],
    images: Tensor,
    supervision: Sequence[Supervision],
    device: torch.device | None,
) -> dict[Candidate, float]:
    """How well each model does on frames that it did not learn from, 0 to 1, as far as can be told without their truth.

    Two witnesses count alike: how well a model agrees with the labels of these frames, and how well with itself on a
    changed view of them (`trigger.self_agreement`). A model that learned to miss what its labels missed agrees with
    them, but hardly with itself; where the labels hold no object, only the second one is heard.

    Args:
        task: of the models.
        candidates: checkpoints.
        images: (N, 3, H, W) uint8.
        supervision: one a frame.
        device: where they are judged; None is the CPU.
    """
    labels = [s.annotation for s in supervision]
    return {name: _testimony(task, path, images, labels, device) for name, path in candidates.items()}


def _testimony(
    task: VisionTask, path: Path, images: Tensor, labels: Sequence[Annotation], device: torch.device | None
) -> float:
    model, spec = load_model(path, device)
    plain, classes = task.predict(model, images), len(spec.classes)
    by_labels = headline(task.score(plain, labels, classes))
    return mean([by_labels, self_agreement(task, model, images, plain, classes)])
