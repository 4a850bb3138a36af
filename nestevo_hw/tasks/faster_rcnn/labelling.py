"""Faster R-CNN in eval mode: detections, and supervision that a teacher gives for frames."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList

from nestevo_hw.models.batch_norm import has_batch_norm, re_estimate_batch_norm
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.batches import frames_at_once, frames_of_statistics
from nestevo_hw.tasks.faster_rcnn.regions import run_box_head
from nestevo_hw.tasks.predictions import Prediction, confident_rows
from nestevo_hw.tasks.supervision import LabelConfig, Supervision

Maps = dict[str, Tensor]
"""Levels of a feature pyramid."""


@torch.no_grad()
def predict(model: FasterRCNN, images: Tensor, *, batch_size: int = 16) -> list[dict[str, Tensor]]:
    """Detections of each frame, on the CPU.

    Args:
        model: detector in eval mode.
        images: (N, 3, H, W) uint8.
        batch_size: frames at a time; more of them on a GPU.

    Returns:
        One dictionary a frame: boxes (D, 4) pixels of the frame, labels (D,), scores (D,).
    """
    detections: list[dict[str, Tensor]] = []
    batch_size = frames_at_once(batch_size, images.shape[-2:], next(model.parameters()).device)
    for chunk in images.split(batch_size) if len(images) else ():  # no frames would be one empty chunk
        batch, maps = _maps(model, chunk)
        found, _ = model.roi_heads(maps, model.rpn(batch, maps)[0], batch.image_sizes)
        shown = model.transform.postprocess(found, batch.image_sizes, [tuple(chunk.shape[2:])] * len(chunk))
        detections += [{k: v.cpu() for k, v in d.items()} for d in shown]
    return detections


def re_estimate(model: FasterRCNN, images: Tensor, *, batch_size: int = 16) -> None:
    """Replace a detector's BatchNorm statistics by those of frames, in place.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8.
        batch_size: frames at a time.
    """
    batch_size = frames_of_statistics(batch_size, images.shape[-2:])
    re_estimate_batch_norm(model, _normalised(model), (_batch(model, c).tensors for c in images.split(batch_size)))


def _normalised(model: FasterRCNN) -> nn.Module:
    """The least part of a detector that holds its BatchNorm layers: most have none behind the backbone's body."""
    backbone, has_pyramid = model.backbone, isinstance(model.backbone, BackboneWithFPN)
    least: nn.Module = backbone.body if has_pyramid and not has_batch_norm(backbone.fpn) else backbone
    return least


def _batch(model: FasterRCNN, images: Tensor) -> ImageList:
    """(N, 3, H, W) uint8 frames as the backbone takes them, channels last: convolutions are faster so."""
    batch, _ = model.transform(as_list(images.to(next(model.parameters()).device)), None)
    batch.tensors = batch.tensors.contiguous(memory_format=torch.channels_last)
    return batch


def _maps(model: FasterRCNN, images: Tensor) -> tuple[ImageList, Maps]:
    batch = _batch(model, images)
    return batch, model.backbone(batch.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a detector makes of one frame in one pass, on the CPU; all boxes in pixels of the frame."""

    own: Prediction
    """Its detections."""
    objects: Prediction
    """What it was asked to describe."""
    features: Tensor
    """(N, D) of `objects`."""
    regions: Tensor
    """(R, 4) that carry soft targets."""
    logits: Tensor
    """(R, C + 1)"""
    deltas: Tensor
    """(R, 4 (C + 1))"""

    def supervision(self, scores: Tensor, high_confidence: float, low_confidence: float) -> Supervision:
        """What the frame teaches, if the objects have these (N,) scores; thresholds as in `confident_rows`."""
        rows, ignore = confident_rows(scores, high_confidence, low_confidence)
        boxes, labels = self.objects["boxes"][rows], self.objects["labels"][rows]
        return Supervision(
            annotation=Annotation(boxes=boxes, labels=labels, ignore=ignore),
            regions=self.regions, logits=self.logits, deltas=self.deltas, features=self.features[rows[~ignore]],
        )  # fmt: skip


@torch.no_grad()
def sights(
    model: FasterRCNN,
    images: Tensor,
    regions: int,
    *,
    agreed: Callable[[int, Prediction], Prediction] = lambda _, own: own,
    considered: int | None = None,
    batch_size: int = 16,
) -> list[Sight]:
    """One pass over frames that gives detections, soft targets, and features of the objects that these led to.

    Args:
        model: detector in eval mode, digital or on the crossbar.
        images: (N, 3, H, W) uint8.
        regions: regions a frame that carry soft targets, the likeliest ones.
        agreed: the objects to describe of a frame, by its number and the model's own detections; default: these.
        considered: proposals a frame in which it detects; None: as many as the model makes.
        batch_size: frames at a time.
    """
    out: list[Sight] = []
    batch_size = frames_at_once(batch_size, images.shape[-2:], next(model.parameters()).device)
    for first in range(0, len(images), batch_size):
        chunk = images[first : first + batch_size]
        batch, maps = _maps(model, chunk)
        (height, width), sizes = chunk.shape[2:], batch.image_sizes
        proposals = [p[:considered] for p in model.rpn(batch, maps)[0]]
        output = run_box_head(model, maps, proposals, sizes)
        found = model.roi_heads.postprocess_detections(output.logits, output.deltas, proposals, sizes)
        scales = [torch.tensor([width / w, height / h] * 2, device=batch.tensors.device) for h, w in sizes]
        own = [
            {"boxes": (boxes * scale).cpu(), "labels": labels.cpu(), "scores": scores.cpu()}
            for boxes, scores, labels, scale in zip(*found, scales, strict=True)
        ]
        objects = [agreed(first + k, detections) for k, detections in enumerate(own)]
        described = [o["boxes"].to(scale) / scale for o, scale in zip(objects, scales, strict=True)]
        features = run_box_head(model, maps, described, sizes).features.cpu().split([len(d) for d in described])
        counts = [len(p) for p in proposals]
        logits, deltas = output.logits.cpu().split(counts), output.deltas.cpu().split(counts)
        out += [
            Sight(
                own=own[k], objects=objects[k], features=features[k], regions=(proposals[k][:regions] * scale).cpu(),
                logits=logits[k][:regions], deltas=deltas[k][:regions],
            )
            for k, scale in enumerate(scales)
        ]  # fmt: skip
    return out


def label_frames(model: FasterRCNN, images: Tensor, config: LabelConfig, *, batch_size: int = 16) -> list[Supervision]:
    """Label frames with a teacher alone.

    Args:
        model: teacher in eval mode, digital or on the crossbar.
        images: (N, 3, H, W) uint8.
        config: thresholds.
        batch_size: frames at a time.

    Returns:
        Supervision of each frame, on the CPU.
    """
    seen = sights(model, images, config.regions, considered=config.regions, batch_size=batch_size)
    return [s.supervision(s.objects["scores"], config.high_confidence, config.low_confidence) for s in seen]
