"""What the teacher says of a frame: pseudo-labels, uncertain regions, soft targets; and learning from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.errors import ConfigError, InputError
from nestevo_hw.files import replacing
from nestevo_hw.models.checkpoint import read_tensors
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.augment import mirrored, mirrored_boxes
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """How detections become pseudo-labels."""

    accept: float = 0.6
    """Detections at or above this score become objects."""
    doubt: float = 0.25
    """Detections from here up to `accept` become ignore regions: neither object nor background."""
    regions: int = 48
    """Regions a frame that carry soft targets."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.doubt <= self.accept <= 1.0:
            raise ConfigError(f"need 0 <= labels.doubt <= labels.accept <= 1, got {self.doubt} and {self.accept}")
        if self.regions < 1:
            raise ConfigError(f"need labels.regions >= 1, got {self.regions}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """The teacher's word on one frame."""

    annotation: Annotation
    """Pseudo-labels; doubtful detections are ignore regions."""
    regions: Tensor
    """(R, 4) x1 y1 x2 y2 in pixels of the frame."""
    logits: Tensor
    """(R, C + 1) class logits."""
    deltas: Tensor
    """(R, 4 (C + 1)) box offsets for each class."""
    features: Tensor
    """(N, D) box-head feature of each accepted object, in the order of the annotation's objects."""

    def mirrored(self, width: int) -> "Supervision":
        """The same word on the frame mirrored left to right."""
        deltas = self.deltas.view(len(self.deltas), -1, 4) * torch.tensor([-1.0, 1.0, 1.0, 1.0])
        return replace(
            self,
            annotation=mirrored(self.annotation, width),
            regions=mirrored_boxes(self.regions, width),
            deltas=deltas.flatten(1),
        )


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


def described_objects(words: Sequence[Supervision]) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of all accepted objects."""
    labels = [w.annotation.labels[~w.annotation.ignore] for w in words]
    return torch.cat([w.features for w in words]), torch.cat(labels)


def save_supervision(supervision: Sequence[Supervision], path: Path) -> None:
    """Write supervision of N frames to one safetensors file."""
    annotations = [s.annotation for s in supervision]
    tensors = {
        "boxes": torch.cat([a.boxes for a in annotations]),
        "labels": torch.cat([a.labels for a in annotations]),
        "ignore": torch.cat([a.ignore for a in annotations]),
        "regions": torch.cat([s.regions for s in supervision]),
        "logits": torch.cat([s.logits for s in supervision]),
        "deltas": torch.cat([s.deltas for s in supervision]),
        "features": torch.cat([s.features for s in supervision]),
        "counts": torch.tensor([[len(s.annotation.labels), len(s.regions), len(s.features)] for s in supervision]),
    }
    with replacing(path) as temporary:
        save_file({name: t.contiguous() for name, t in tensors.items()}, temporary)


def load_supervision(path: Path) -> list[Supervision]:
    """Read what `save_supervision` wrote.

    Raises:
        InputError: the file is missing or corrupt.
    """
    _, tensors = read_tensors(path)
    if "counts" not in tensors:
        raise InputError(f"{path} holds no supervision; delete it and run again")
    objects, regions, features = (c.tolist() for c in tensors["counts"].unbind(1))
    columns = {
        name: tensors[name].split(sizes)
        for sizes, names in (
            (objects, ("boxes", "labels", "ignore")),
            (regions, ("regions", "logits", "deltas")),
            (features, ("features",)),
        )
        for name in names
    }
    return [
        Supervision(
            annotation=Annotation(boxes=columns["boxes"][i], labels=columns["labels"][i], ignore=columns["ignore"][i]),
            regions=columns["regions"][i],
            logits=columns["logits"][i],
            deltas=columns["deltas"][i],
            features=columns["features"][i],
        )
        for i in range(len(objects))
    ]
