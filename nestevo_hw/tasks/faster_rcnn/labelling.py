"""Faster R-CNN in eval mode: detections, and supervision that a teacher gives for frames."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.models.batch_norm import re_estimate_batch_norm
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.batches import frames_at_once
from nestevo_hw.tasks.faster_rcnn.regions import RegionOutput, run_box_head
from nestevo_hw.tasks.predictions import confident_rows
from nestevo_hw.tasks.supervision import LabelConfig, Supervision


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
    device = next(model.parameters()).device
    detections: list[dict[str, Tensor]] = []
    batch_size = frames_at_once(batch_size, images.shape[-2:], device)
    for chunk in images.split(batch_size) if len(images) else ():  # no frames would be one empty chunk
        detections += [{k: v.cpu() for k, v in d.items()} for d in model(as_list(chunk.to(device)))]
    return detections


def re_estimate(model: FasterRCNN, images: Tensor, *, batch_size: int = 16) -> None:
    """Replace a detector's BatchNorm statistics by those of frames, in place.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8.
        batch_size: frames at a time.
    """
    batches = [model.transform(as_list(chunk), None)[0].tensors for chunk in images.split(batch_size)]
    re_estimate_batch_norm(model, model.backbone, batches)


@torch.no_grad()
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
    device, (height, width) = next(model.parameters()).device, images.shape[2:]
    out: list[Supervision] = []
    for chunk in images.split(batch_size):
        batch, _ = model.transform(as_list(chunk.to(device)), None)
        maps = model.backbone(batch.tensors)
        proposals = [p[: config.regions] for p in model.rpn(batch, maps, None)[0]]
        output = run_box_head(model, maps, proposals, batch.image_sizes)
        detected = model.roi_heads.postprocess_detections(output.logits, output.deltas, proposals, batch.image_sizes)
        described = run_box_head(model, maps, detected[0], batch.image_sizes).features
        scales = [torch.tensor([width / w, height / h], device=device).repeat(2) for h, w in batch.image_sizes]
        annotations, features = [], []
        for boxes, scores, labels, own, scale in zip(
            *detected, described.split([len(b) for b in detected[0]]), scales, strict=True
        ):
            rows, ignore = confident_rows(scores, config.high_confidence, config.low_confidence)
            annotations.append(
                Annotation(boxes=(boxes * scale)[rows].cpu(), labels=labels[rows].cpu(), ignore=ignore.cpu())
            )
            features.append(own[rows][~ignore])
        regions = [p * scale for p, scale in zip(proposals, scales, strict=True)]
        out += _supervision(annotations, regions, output, features)
    return out


@torch.no_grad()
def with_soft_targets(
    teacher: FasterRCNN, images: Tensor, annotations: Sequence[Annotation], regions: int, *, batch_size: int = 16
) -> list[Supervision]:
    """Given pseudo-labels with a teacher's features of their objects, and its soft targets on its own regions.

    Args:
        teacher: in eval mode.
        images: (N, 3, H, W) uint8.
        annotations: one a frame; ignore regions get no feature.
        regions: regions a frame that carry soft targets.
        batch_size: frames at a time.
    """
    device, (height, width) = next(teacher.parameters()).device, images.shape[2:]
    out: list[Supervision] = []
    for start in range(0, len(images), batch_size):
        chunk, labels = images[start : start + batch_size], annotations[start : start + batch_size]
        batch, _ = teacher.transform(as_list(chunk.to(device)), None)
        maps = teacher.backbone(batch.tensors)
        scales = [torch.tensor([w / width, h / height] * 2, device=device) for h, w in batch.image_sizes]
        objects = [a.boxes[~a.ignore].to(device) * scale for a, scale in zip(labels, scales, strict=True)]
        proposals = [p[:regions] for p in teacher.rpn(batch, maps, None)[0]]
        output = run_box_head(teacher, maps, proposals, batch.image_sizes)
        described = run_box_head(teacher, maps, objects, batch.image_sizes).features
        shown = [p / scale for p, scale in zip(proposals, scales, strict=True)]
        out += _supervision(labels, shown, output, described.split([len(o) for o in objects]))
    return out


def _supervision(
    annotations: Sequence[Annotation], regions: Sequence[Tensor], output: RegionOutput, features: Sequence[Tensor]
) -> list[Supervision]:
    """Supervision of each image of a batch, on the CPU, from the output on all its regions in a row."""
    counts = [len(r) for r in regions]
    rows = zip(annotations, regions, output.logits.split(counts), output.deltas.split(counts), features, strict=True)
    return [
        Supervision(
            annotation=annotation, regions=boxes.cpu(), logits=logits.cpu(), deltas=deltas.cpu(), features=own.cpu()
        )
        for annotation, boxes, logits, deltas, own in rows
    ]
