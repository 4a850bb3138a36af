"""Pseudo-labels on which several views and several detectors of one scene agree."""

from collections.abc import Sequence

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound, View
from nestevo_hw.tasks.faster_rcnn.fusion import weighted_boxes_fusion
from nestevo_hw.tasks.faster_rcnn.labelling import label_frames, with_soft_targets
from nestevo_hw.tasks.faster_rcnn.tracking import rescored_by_tracks
from nestevo_hw.tasks.faster_rcnn.views import ensemble_views, foreground_amplified
from nestevo_hw.tasks.predictions import pseudo_labels
from nestevo_hw.tasks.supervision import LabelConfig, Supervision


def confirm_labels(
    models: Sequence[FasterRCNN],
    images: Tensor,
    labels: LabelConfig,
    confirmation: ConfirmationConfig,
    *,
    spacing_s: float,
    earlier: LabelRound | None = None,
) -> LabelRound:
    """Label frames with what several views, detectors and neighbouring frames agree on.

    Soft targets and features are the first detector's own, on its own regions of the amplified frames; soft targets of
    an earlier round stay beside them, on theirs.

    Args:
        models: the ensemble: the teacher, then further detectors of the same classes; all in eval mode, with the
            BatchNorm statistics of the scene.
        images: (N, 3, H, W) uint8 frames of one fixed camera, in order of time.
        labels: number of regions; its thresholds hold where nothing confirms the teacher.
        confirmation: what confirms it.
        spacing_s: seconds between two frames.
        earlier: round before, whose views count as well.

    Returns:
        Supervision of each frame, on the CPU, and all views; with nothing to confirm the teacher the same supervision
        as `label_frames`.
    """
    with foreground_amplified(models, images, confirmation) as amplified:
        views = [*(earlier.views if earlier else ()), *ensemble_views(models, amplified, confirmation)]
        supervision = _agreed(models[0], views, amplified, labels, confirmation, spacing_s)
    if earlier is not None:
        pairs = zip(supervision, earlier.supervision, strict=True)
        supervision = [new.with_soft_targets_of(old) for new, old in pairs]
    return LabelRound(supervision=supervision, views=views)


def _agreed(
    teacher: FasterRCNN,
    views: Sequence[View],
    images: Tensor,
    labels: LabelConfig,
    confirmation: ConfirmationConfig,
    spacing_s: float,
) -> list[Supervision]:
    """Supervision by what views agree on; see `confirm_labels`."""
    tracked = confirmation.tracking_share > 0 and spacing_s <= confirmation.tracking_gap_s
    if len(views) == 1 and not tracked:
        return label_frames(teacher, images, labels)
    detections = [weighted_boxes_fusion(frame, overlap=confirmation.overlap) for frame in zip(*views, strict=True)]
    if tracked:
        detections = rescored_by_tracks(detections, share=confirmation.tracking_share)
    annotations = [pseudo_labels(d, confirmation.high_confidence, confirmation.low_confidence) for d in detections]
    return with_soft_targets(teacher, images, annotations, labels.regions)
