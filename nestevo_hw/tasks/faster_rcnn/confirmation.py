"""Pseudo-labels on which several views and several detectors of one scene agree."""

from collections.abc import Sequence

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound
from nestevo_hw.tasks.faster_rcnn.labelling import sights
from nestevo_hw.tasks.faster_rcnn.tracking import rescored_by_tracks
from nestevo_hw.tasks.faster_rcnn.views import other_views
from nestevo_hw.tasks.fusion import weighted_boxes_fusion
from nestevo_hw.tasks.predictions import Prediction
from nestevo_hw.tasks.supervision import LabelConfig


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

    Soft targets and features are the first detector's own, on its own regions; soft targets of an earlier round stay
    beside them, on theirs.

    Args:
        models: the ensemble: the teacher, then further detectors of the same classes; all in eval mode, with the
            BatchNorm statistics of the frames.
        images: (N, 3, H, W) uint8 frames of one fixed camera, in order of time, as the ensemble is to see them.
        labels: number of regions; its thresholds hold where nothing confirms the teacher.
        confirmation: what confirms it.
        spacing_s: seconds between two frames.
        earlier: round before, whose views count as well.

    Returns:
        Supervision of each frame, on the CPU, and all views; with nothing to confirm the teacher the same supervision
        as `label_frames`.
    """
    tracked = confirmation.tracking_share > 0 and spacing_s <= confirmation.tracking_gap_s
    before = list(earlier.views) if earlier else []
    others = other_views(models, images, confirmation)
    alone = not (before or others or tracked)

    def agreed(frame: int, own: Prediction) -> Prediction:
        if alone:
            return own
        views = [*(view[frame] for view in before), own, *(view[frame] for view in others)]
        return weighted_boxes_fusion(views, overlap=confirmation.overlap)

    # The teacher's own view comes last, so that its pass can describe what all agree on.
    considered = labels.regions if alone else None
    seen = sights(models[0], images, labels.regions, agreed=agreed, considered=considered)
    objects = [sight.objects for sight in seen]
    if tracked:
        objects = list(rescored_by_tracks(objects, share=confirmation.tracking_share))
    limits = labels if alone else confirmation
    supervision = [
        sight.supervision(found["scores"], limits.high_confidence, limits.low_confidence)
        for sight, found in zip(seen, objects, strict=True)
    ]
    if earlier is not None:
        pairs = zip(supervision, earlier.supervision, strict=True)
        supervision = [new.with_soft_targets_of(old) for new, old in pairs]
    return LabelRound(supervision=supervision, views=[*before, [sight.own for sight in seen], *others])
