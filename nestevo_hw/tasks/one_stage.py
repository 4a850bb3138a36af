"""Detection by any network that says at each of a number of places what is there: a base for tasks of the user's own.

A subclass names itself and the architecture of its models, and says with `dense` how a model's outputs are read.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, sigmoid_focal_loss

from nestevo_hw.base.files import replacing
from nestevo_hw.base.transfer import sent
from nestevo_hw.models.batch_norm import re_estimate_batch_norm
from nestevo_hw.models.onnx.export import any_floats, open_session, write_onnx
from nestevo_hw.models.onnx.frames import FrameModel
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.batches import frames_at_once
from nestevo_hw.tasks.boxes import Boxes
from nestevo_hw.tasks.capabilities import CameraFrames, MutualLearning
from nestevo_hw.tasks.faster_rcnn.coding import area
from nestevo_hw.tasks.predictions import confident_rows
from nestevo_hw.tasks.supervision import LabelConfig, Supervision
from nestevo_hw.tasks.targets import IGNORE, targets_of

BATCH = 16
"""Frames at a time where nothing is learned, on a CPU."""
LEAST_SCORE, MOST_DETECTIONS, OVERLAP = 0.05, 100, 0.5
"""Of detections: the lowest score, how many a frame, and the IoU from which on two are one object."""
_TINY = 1e-7
"""Of an area, so that none of size zero divides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """What a detector says of N frames at each of its G places."""

    logits: Tensor
    """(N, G, C), one for each class, each on its own (sigmoid); no background."""
    boxes: Tensor
    """(N, G, 4) x1 y1 x2 y2 of the object there, pixels of the frame."""
    places: Tensor
    """(G, 4) the places themselves, such as the cells of a grid: they depend on the frames' size alone."""
    features: Tensor
    """(N, G, D) from which logits are made."""

    def of(self, frame: int) -> "Dense":
        """Of one frame, without N."""
        return Dense(
            logits=self.logits[frame], boxes=self.boxes[frame], places=self.places, features=self.features[frame]
        )


class OneStage(Boxes, MutualLearning, CameraFrames, ABC):
    """Detectors of dense outputs: an object belongs to the place whose centre is nearest to its own."""

    @abstractmethod
    def dense(self, model: nn.Module, images: Tensor) -> Dense:
        """What a model says of (N, 3, H, W) float frames in 0..1, with gradient where it is in training mode."""

    def label(self, model: nn.Module, images: Tensor, config: LabelConfig) -> list[Supervision]:
        """Detections become labels; soft targets are the logits at the places that are surest of an object."""
        return [self._supervision(one, config) for one in self._read(model, images)]

    def supervised_loss(self, model: nn.Module, images: list[Tensor], annotations: Sequence[Annotation]) -> Tensor:
        """See `_loss`."""
        return _loss(self.dense(model, torch.stack(images)), annotations)

    def distillation_loss(
        self,
        student: nn.Module,
        images: list[Tensor],
        supervision: Sequence[Supervision],
        *,
        temperature: float,
        soft_share: float,
    ) -> Tensor:
        """The loss against pseudo-labels, and the divergence from the teacher's logits at its places."""
        found = self.dense(student, torch.stack(images))
        hard = _loss(found, [s.annotation for s in supervision])
        if soft_share == 0.0:
            return hard
        device, (places, classes) = found.logits.device, found.logits.shape[1:]
        firsts = torch.cat([torch.full((len(s.regions),), n * places) for n, s in enumerate(supervision)])
        nearest = _nearest(found.places, sent(torch.cat([s.regions for s in supervision]), device))
        rows = (sent(firsts, device) + nearest)[:, None].expand(-1, classes)
        own = found.logits.flatten(0, 1).gather(0, rows)
        taught = sent(torch.cat([s.logits for s in supervision]), device)
        return (1 - soft_share) * hard + soft_share * _divergence(own, taught, temperature)

    def mutual_losses(
        self,
        terminal: nn.Module,
        intermediate: nn.Module,
        images: list[Tensor],
        annotations: Sequence[Annotation],
        *,
        alpha: float,
        beta: float,
    ) -> tuple[Tensor, Tensor]:
        """Deep mutual learning on the class probabilities of all places (paper eq. 14 and 15)."""
        batch = torch.stack(images)
        local, mid = self.dense(terminal, batch), self.dense(intermediate, batch)
        return (
            alpha * _loss(local, annotations) + (1 - alpha) * _divergence(local.logits, mid.logits),
            beta * _loss(mid, annotations) + (1 - beta) * _divergence(mid.logits, local.logits),
        )

    def predict(self, model: nn.Module, images: Tensor) -> list[dict[str, Tensor]]:
        """The likeliest class of each place, after NMS."""
        return [_detections(one)[0] for one in self._read(model, images)]

    @torch.no_grad()
    def re_estimate(self, model: nn.Module, images: Tensor) -> None:
        """Statistics of the whole network on these frames."""
        re_estimate_batch_norm(model, model, [self.inputs(chunk) for chunk in images.split(BATCH)])

    def inputs(self, images: Tensor) -> Tensor:
        """Floats in 0..1."""
        return images.float() / 255

    def export(self, model: nn.Module, path: Path, example: Tensor) -> None:
        """Write logits, boxes and places of one frame as outputs of an ONNX file."""
        whole = _Exported(self, model.cpu().eval())
        with replacing(path) as temporary, any_floats(whole):
            write_onnx(whole, (self.inputs(example[None].cpu()),), temporary, inputs=("image",), outputs=_OUTPUTS)

    def open_exported(self, path: Path) -> "ExportedOneStage":
        """The detector as ONNX Runtime runs it."""
        return ExportedOneStage(path)

    def frame_model(self, model: nn.Module) -> FrameModel:
        """The detector with NMS."""
        return FrameModel(
            module=_Detecting(self, model), detects=True, least_score=LEAST_SCORE,
            thresholds={"overlap": OVERLAP, "detections": MOST_DETECTIONS},
        )  # fmt: skip

    @torch.no_grad()
    def _read(self, model: nn.Module, images: Tensor) -> Iterator[Dense]:
        """Of each frame, on the CPU."""
        device = next(model.parameters()).device
        for chunk in images.split(frames_at_once(BATCH, images.shape[-2:], device)):
            found = self.dense(model, self.inputs(chunk.to(device)))
            moved = Dense(**{name: getattr(found, name).cpu() for name in Dense.__slots__})
            yield from (moved.of(frame) for frame in range(len(chunk)))

    def _supervision(self, found: Dense, config: LabelConfig) -> Supervision:
        detected, places = _detections(found)
        rows, ignore = confident_rows(detected["scores"], config.high_confidence, config.low_confidence)
        surest = found.logits.amax(1).topk(min(config.regions, len(found.logits))).indices
        return Supervision(
            annotation=Annotation(boxes=detected["boxes"][rows], labels=detected["labels"][rows], ignore=ignore),
            regions=found.places[surest],
            logits=found.logits[surest],
            deltas=found.logits.new_zeros(len(surest), 0),
            features=found.features[places[rows][~ignore]],
        )


_OUTPUTS = ("logits", "boxes", "places")


class _Exported(nn.Module):
    """A detector as a function of one frame."""

    def __init__(self, task: OneStage, model: nn.Module) -> None:
        super().__init__()
        self.model, self._task = model, task

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self._task.dense(self.model, image)
        return found.logits, found.boxes, found.places


class _Detecting(nn.Module):
    """A detector as a function from one frame to its detections."""

    def __init__(self, task: OneStage, model: nn.Module) -> None:
        super().__init__()
        self.model, self._task = model, task

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found, _ = _detections(self._task.dense(self.model, images).of(0))
        return found["boxes"], found["labels"], found["scores"]


class ExportedOneStage:
    """Detections by ONNX Runtime on the CPU, one frame at a time and one thread."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detections of (N, 3, H, W) uint8 frames."""
        found = []
        for image in images.cpu().float() / 255:
            run = self._session.run(list(_OUTPUTS), {"image": np.ascontiguousarray(image[None].numpy())})
            logits, boxes, places = (torch.from_numpy(value) for value in run)
            one = Dense(logits=logits[0], boxes=boxes[0], places=places, features=logits[0])
            found.append(_detections(one)[0])
        return found


def _detections(found: Dense) -> tuple[dict[str, Tensor], Tensor]:
    """Detections of one frame by falling score, and the place (K,) of each."""
    scores, labels = found.logits.sigmoid().max(1)
    sure = torch.where(scores >= LEAST_SCORE)[0]
    kept = sure[batched_nms(found.boxes[sure], scores[sure], labels[sure], OVERLAP)][:MOST_DETECTIONS]
    return {"boxes": found.boxes[kept], "labels": labels[kept] + 1, "scores": scores[kept]}, kept


def _nearest(places: Tensor, boxes: Tensor) -> Tensor:
    """(..) the place whose centre is nearest to that of each of (.., 4) boxes."""
    return torch.cdist(_centres(boxes), _centres(places)).argmin(-1)


def _centres(boxes: Tensor) -> Tensor:
    """(.., 2) x and y of the centres of (.., 4) boxes."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _loss(found: Dense, annotations: Sequence[Annotation]) -> Tensor:
    """Focal loss of the classes of all places outside of ignored regions, and generalised IoU of the objects' boxes."""
    targets = targets_of(annotations, [(1.0, 1.0)] * len(annotations), found.logits.device)
    objects, nearest = targets.labels > 0, _nearest(found.places, targets.boxes)
    counted = torch.ones_like(found.logits[..., 0])
    if targets.ignores:
        low, high = targets.boxes[:, :, None].split(2, -1)
        centres = _centres(found.places)
        inside = ((centres >= low) & (centres <= high)).all(-1) & (targets.labels == IGNORE)[..., None]
        counted = counted.masked_fill(inside.any(1), 0.0)
    counted = _marked(counted, nearest, objects)
    rows = nearest * found.logits.shape[-1] + targets.labels - 1
    wanted = _marked(torch.zeros_like(found.logits).flatten(1), rows, objects).view_as(found.logits)
    scores: Tensor = (sigmoid_focal_loss(found.logits, wanted).sum(-1) * counted).sum()
    apart = _apart(found.boxes.gather(1, nearest[..., None].expand(-1, -1, 4)), targets.boxes)
    count = sum(int((~a.ignore).sum()) for a in annotations)
    return (scores + torch.where(objects, apart, 0.0).sum()) / max(count, 1)


def _marked(values: Tensor, columns: Tensor, where: Tensor) -> Tensor:
    """(N, G) values, 1 in those of the columns (N, M) for which `where` (N, M) holds."""
    count = values.shape[1]
    return F.pad(values, (0, 1)).scatter(1, columns.masked_fill(~where, count), 1.0)[:, :count]


def _apart(boxes: Tensor, wanted: Tensor) -> Tensor:
    """(..) one less the generalised IoU of (.., 4) boxes (Rezatofighi et al., CVPR 2019), for all without a mask."""
    shared = _rectangle(torch.maximum(boxes[..., :2], wanted[..., :2]), torch.minimum(boxes[..., 2:], wanted[..., 2:]))
    hull = _rectangle(torch.minimum(boxes[..., :2], wanted[..., :2]), torch.maximum(boxes[..., 2:], wanted[..., 2:]))
    either = area(boxes) + area(wanted) - shared
    return 1 - shared / (either + _TINY) + (hull - either) / (hull + _TINY)


def _rectangle(low: Tensor, high: Tensor) -> Tensor:
    """(..) area between (.., 2) corners, 0 where they do not face one another."""
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height


def _divergence(own: Tensor, peer: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean cross-entropy of class probabilities from a detached peer's, times temperature squared."""
    target = (peer.detach() / temperature).sigmoid()
    return F.binary_cross_entropy_with_logits(own / temperature, target) * temperature**2
