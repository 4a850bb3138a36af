"""Words of a teacher of detectors, and learning from them: pseudo-labels and soft targets on its own regions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.detection import (
    box_agreement,
    divergence,
    look_at,
    prepare,
    propose,
    region_loss,
    sample_regions,
    targets_of,
)
from nestevo_hw.tasks.supervision import LabelConfig, Supervision


@torch.no_grad()
def supervise(model: FasterRCNN, images: Tensor, config: LabelConfig, *, batch_size: int = 16) -> list[Supervision]:
    """Label frames with a teacher in eval mode.

    Args:
        model: teacher, digital or on the crossbar.
        images: (N, 3, H, W) uint8.
        config: thresholds.
        batch_size: frames at a time.

    Returns:
        One supervision a frame, on the CPU.
    """
    device = next(model.parameters()).device
    out: list[Supervision] = []
    for chunk in images.split(batch_size):
        floats = as_list(chunk.to(device))
        batch, _ = model.transform(floats, None)
        features = model.backbone(batch.tensors)
        proposals = [p[: config.regions] for p in model.rpn(batch, features, None)[0]]
        output = look_at(model, features, proposals, batch.image_sizes)
        found = model.roi_heads.postprocess_detections(output.logits, output.deltas, proposals, batch.image_sizes)
        detected = look_at(model, features, found[0], batch.image_sizes).features
        counts = [len(p) for p in proposals]
        rows = zip(
            proposals,
            output.logits.split(counts),
            output.deltas.split(counts),
            *found,
            detected.split([len(b) for b in found[0]]),
            batch.image_sizes,
            strict=True,
        )
        for regions, logits, deltas, boxes, scores, labels, described, size in rows:
            scale = torch.tensor([chunk.shape[3] / size[1], chunk.shape[2] / size[0]], device=device).repeat(2)
            kept, sure = scores >= config.doubt, scores[scores >= config.doubt] >= config.accept
            order = torch.argsort((~sure).int(), stable=True)
            annotation = Annotation(
                boxes=(boxes * scale)[kept][order].cpu(),
                labels=labels[kept][order].cpu(),
                ignore=(~sure)[order].cpu(),
            )
            out.append(
                Supervision(
                    annotation=annotation,
                    regions=(regions * scale).cpu(),
                    logits=logits.cpu(),
                    deltas=deltas.cpu(),
                    features=described[kept][order][: int(sure.sum())].cpu(),
                )
            )
    return out


def distillation_loss(
    student: FasterRCNN,
    images: list[Tensor],
    supervision: Sequence[Supervision],
    *,
    temperature: float,
    soft_share: float,
) -> torch.Tensor:
    """Loss of a student taught by stored words of its teacher: pseudo-labels and soft targets.

    Args:
        student: detector in training mode.
        images: (3, H, W) float images in 0..1.
        supervision: one an image, mirrored where the image is.
        temperature: softens class probabilities of the soft targets.
        soft_share: weight of the soft targets, 0 to 1; the rest is the pseudo-labels'.
    """
    device = images[0].device
    batch, targets = prepare(student, images, targets_of([s.annotation for s in supervision], device))
    features = student.backbone(batch.tensors)
    proposals, rpn_loss = propose(student, batch, features, targets)
    regions = sample_regions(student, proposals, targets)
    hard = rpn_loss + region_loss(look_at(student, features, regions.boxes, batch.image_sizes), regions)
    if soft_share == 0.0:
        return hard
    scaled = [
        s.regions.to(device)
        * torch.tensor([size[1] / image.shape[2], size[0] / image.shape[1]], device=device).repeat(2)
        for s, image, size in zip(supervision, images, batch.image_sizes, strict=True)
    ]
    seen = look_at(student, features, scaled, batch.image_sizes)
    logits = torch.cat([s.logits for s in supervision]).to(device)
    deltas = torch.cat([s.deltas for s in supervision]).to(device)
    soft = divergence(seen.logits, logits, temperature) + box_agreement(seen, logits, deltas)
    return (1 - soft_share) * hard + soft_share * soft
