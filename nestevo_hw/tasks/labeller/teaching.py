"""What a teacher can do that only detects: label and confirm, without soft targets, features or BatchNorm."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from nestevo_hw.models.onnx.foreign.labeller import Labeller
from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound, View
from nestevo_hw.tasks.faster_rcnn.tracking import rescored_by_tracks
from nestevo_hw.tasks.fusion import weighted_boxes_fusion
from nestevo_hw.tasks.labeller.views import other_views, parts
from nestevo_hw.tasks.predictions import pseudo_labels
from nestevo_hw.tasks.supervision import LabelConfig, Supervision, hard_labels
from nestevo_hw.tasks.task import Teaching, VisionTask


class LabellerTeaching(Teaching):
    """The verbs of a task for a `Labeller` as its teacher; it can confirm labels, too (`LabelConfirmation`).

    Args:
        task: of the terminals.
        classes: that these know, in the order of their labels.
    """

    subtracts_background: ClassVar[bool] = True

    def __init__(self, task: VisionTask, classes: tuple[str, ...]) -> None:
        self._task, self._classes = task, classes

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """Detections by the thresholds of the adapter, which fit its scores; those of a run are for its own models."""
        del config
        limits = _labeller(model).thresholds
        return [self._supervision(found, limits.score, limits.unsure) for found in self.predict(model, images)]

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """Detections with the terminals' labels, without classes that these do not know."""
        labeller = _labeller(model)
        known = [self._classes.index(name) + 1 if name in self._classes else 0 for name in labeller.classes]
        label_of, out = torch.tensor([0, *known]), []
        for found in labeller(images):
            labels = label_of[found["labels"]]
            kept = labels > 0
            out.append({"boxes": found["boxes"][kept], "labels": labels[kept], "scores": found["scores"][kept]})
        return out

    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """Nothing: its BatchNorm is part of its convolutions."""

    def inputs(self, images: Tensor) -> Tensor:
        """Frames as they are."""
        return images

    def teacher_passes(self, confirmation: ConfirmationConfig, frames: int, size: tuple[int, int]) -> int:
        """Runs of the labeller's network; each part of a frame is one."""
        divided = len(parts(size)) if confirmation.zoom > 1.0 else 0
        return frames * (1 + confirmation.mirror + divided)

    def confirmed_labels(
        self,
        models: Sequence[nn.Module],
        images: Tensor,
        labels: LabelConfig,
        confirmation: ConfirmationConfig,
        *,
        spacing_s: float,
        earlier: LabelRound | None = None,
    ) -> LabelRound:
        """See `LabelConfirmation.confirmed_labels`.

        The labeller sees each frame whole, mirrored, and, where others see it enlarged, in enlarged parts.
        """
        del labels
        views: list[View] = [] if earlier is None else list(earlier.views)
        views += self._own_views(models[0], images, confirmation)
        if confirmation.ensemble:
            views += [self._task.predict(member, images) for member in models[1:]]
        found = [weighted_boxes_fusion(frame, overlap=confirmation.overlap) for frame in zip(*views, strict=True)]
        if confirmation.tracking_share > 0 and spacing_s <= confirmation.tracking_gap_s:
            found = rescored_by_tracks(found, share=confirmation.tracking_share)
        supervision = [
            self._supervision(one, confirmation.high_confidence, confirmation.low_confidence) for one in found
        ]
        return LabelRound(supervision=supervision, views=views)

    def _own_views(self, model: nn.Module, images: Tensor, confirmation: ConfirmationConfig) -> list[View]:
        def predict(frames: Tensor) -> list[dict[str, Tensor]]:
            return self.predict(model, frames)

        mirror, divided = confirmation.mirror, confirmation.zoom > 1.0
        others = [other_views(predict, image, mirror=mirror, divided=divided) for image in images]
        return [predict(images), *(list(view) for view in zip(*others, strict=True))]

    def _supervision(self, found: dict[str, Tensor], high: float, low: float) -> Supervision:
        return hard_labels(pseudo_labels(found, high, low), len(self._classes))


def _labeller(model: nn.Module) -> Labeller:
    assert isinstance(model, Labeller)
    return model
