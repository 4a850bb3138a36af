"""What the teacher says of a frame: pseudo-labels, uncertain regions, soft targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.streams.augment import mirrored, mirrored_boxes
from nestevo_hw.streams.frame import Annotation, FrameBatch, shrunk


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelConfig:
    """How detections become pseudo-labels."""

    accept: float = 0.6
    """Detections at or above this score become objects."""
    doubt: float = 0.25
    """Detections from here up to `accept` become ignore regions: neither object nor background."""
    regions: int = 48
    """Regions a frame that carry soft targets."""
    refine: bool | None = None
    """Confirm labels by views, peers and neighbouring frames (`[refinement]`); None: where the method does (NestEvo and
    A2 do, the other baselines do not)."""

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


def with_targets_of(words: Supervision, other: Supervision) -> Supervision:
    """Words with the soft targets of another round beside their own."""
    return replace(
        words,
        regions=torch.cat([words.regions, other.regions]),
        logits=torch.cat([words.logits, other.logits]),
        deltas=torch.cat([words.deltas, other.deltas]),
    )


def shrunk_supervision(words: Supervision, factor: float) -> Supervision:
    """The same word on the frame made smaller by a factor."""
    return replace(words, annotation=shrunk(words.annotation, factor), regions=words.regions / factor)


def described_objects(words: Sequence[Supervision]) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of all accepted objects."""
    labels = [w.annotation.labels[~w.annotation.ignore] for w in words]
    return torch.cat([w.features for w in words]), torch.cat(labels)


def ground_truth_supervision(frames: FrameBatch, classes: int) -> list[Supervision]:
    """The truth of frames as a teacher would say it; its soft targets are empty and have no meaning.

    Raises:
        InputError: the frames have no truth.
    """
    if frames.truth is None:
        raise InputError("the frames have no labels, so nothing can be learned from their truth")
    return [
        Supervision(
            annotation=annotation,
            regions=torch.tensor([[0.0, 0.0, 1.0, 1.0]]),
            logits=torch.zeros(1, classes + 1),
            deltas=torch.zeros(1, 4 * (classes + 1)),
            features=torch.zeros(int((~annotation.ignore).sum()), 1),
        )
        for annotation in frames.truth
    ]


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
