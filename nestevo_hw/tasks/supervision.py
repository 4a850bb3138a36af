"""Supervision of a frame by a teacher: pseudo-labels, ignore regions, soft targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.ranges import SHARE, Range
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.streams.augment import mirrored, mirrored_boxes
from nestevo_hw.streams.frame import Annotation, FrameBatch, shrunk


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """How detections become pseudo-labels."""

    high_confidence: Annotated[float, SHARE] = 0.6
    """Detections at or above this score become objects."""
    low_confidence: Annotated[float, SHARE] = 0.25
    """Detections from here up to `high_confidence` become ignore regions: neither object nor background."""
    regions: Annotated[int, Range(1, 10_000)] = 48
    """Regions a frame that carry soft targets."""
    confirm: bool | None = None
    """Confirm labels by test-time augmentation, an ensemble and neighbouring frames (`[confirmation]`); None: where the
    method does (NestEvo and A2 do, the other baselines do not)."""

    def __post_init__(self) -> None:
        if self.low_confidence > self.high_confidence:
            raise ConfigError(
                "need labels.low_confidence <= labels.high_confidence, "
                f"got {self.low_confidence} and {self.high_confidence}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What a frame teaches a student.

    Soft targets belong to R regions. For a task on whole images the only region is the frame, and there are no offsets.
    """

    annotation: Annotation
    """Pseudo-labels; detections of low confidence are ignore regions."""
    regions: Tensor
    """(R, 4) x1 y1 x2 y2 in pixels of the frame."""
    logits: Tensor
    """(R, K) class logits; of a detector, background first."""
    deltas: Tensor
    """(R, 4 K) box offsets for each logit, or (R, 0)."""
    features: Tensor
    """(N, D) feature of each object that is not ignored, in the order of the annotation's objects."""

    def mirrored(self, width: int) -> "Supervision":
        """The same supervision of the frame mirrored left to right."""
        deltas = self.deltas.unflatten(1, (self.deltas.shape[1] // 4, 4)) * torch.tensor([-1.0, 1.0, 1.0, 1.0])
        return replace(
            self,
            annotation=mirrored(self.annotation, width),
            regions=mirrored_boxes(self.regions, width),
            deltas=deltas.flatten(1),
        )

    def shrunk(self, factor: float) -> "Supervision":
        """The same supervision of the frame made smaller by a factor."""
        return replace(self, annotation=shrunk(self.annotation, factor), regions=self.regions / factor)

    def with_soft_targets_of(self, other: "Supervision") -> "Supervision":
        """The same pseudo-labels, with the soft targets of another round beside the own ones."""
        return replace(
            self,
            regions=torch.cat([self.regions, other.regions]),
            logits=torch.cat([self.logits, other.logits]),
            deltas=torch.cat([self.deltas, other.deltas]),
        )


def labelled_features(supervision: Sequence[Supervision]) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of all objects that are not ignored."""
    labels = [s.annotation.labels[~s.annotation.ignore] for s in supervision]
    return torch.cat([s.features for s in supervision]), torch.cat(labels)


def ground_truth_supervision(frames: FrameBatch, classes: int) -> list[Supervision]:
    """The truth of frames as a perfect teacher's supervision; its soft targets have no meaning.

    Raises:
        InputError: the frames have no truth.
    """
    if frames.truth is None:
        raise InputError("the frames have no labels, so nothing can be learned from their truth")
    return [hard_labels(annotation, classes) for annotation in frames.truth]


def hard_labels(annotation: Annotation, classes: int) -> Supervision:
    """Labels as supervision; its soft targets and features have no meaning."""
    return Supervision(
        annotation=annotation,
        regions=torch.tensor([[0.0, 0.0, 1.0, 1.0]]),
        logits=torch.zeros(1, classes + 1),
        deltas=torch.zeros(1, 4 * (classes + 1)),
        features=torch.zeros(int((~annotation.ignore).sum()), 1),
    )


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
    write_tensors(path, tensors)


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
