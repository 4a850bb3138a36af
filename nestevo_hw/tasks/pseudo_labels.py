"""Words on frames that several views and several detectors of one scene agree on."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.batch_norm import kept_batch_norm
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.augment import mirrored_boxes
from nestevo_hw.streams.background import LEAST_FRAMES, cleared
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.detection import look_at, predict, re_estimate
from nestevo_hw.tasks.detection_teaching import supervise
from nestevo_hw.tasks.ensemble import Round, View
from nestevo_hw.tasks.fusion import fused
from nestevo_hw.tasks.metrics import Prediction
from nestevo_hw.tasks.supervision import LabelConfig, Supervision, with_targets_of
from nestevo_hw.tasks.tracks import supported


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementConfig:
    """How detections are confirmed before they become pseudo-labels; each part can be left out."""

    amplify: float = 2.0
    """Let all look at frames in which what differs from the background has this many times the contrast, and streaks
    of rain are gone; 1 leaves frames as they are. Finds what is faint. For a camera that moves, set 1."""
    mirror: bool = True
    """Let the teacher look at the mirrored frames, too."""
    zoom: float = 1.5
    """Let the teacher look at frames enlarged by this factor, too; 1 leaves it out. Finds small objects."""
    peers: bool = True
    """Let further detectors of the scene look at the plain frames, such as the terminal."""
    overlap: float = 0.55
    """IoU from which on detections of two views are one object."""
    tracks: float = 0.3
    """Share of an object's score that comes from neighbouring frames, 0 to 1; 0 leaves it out."""
    tracks_within_s: float = 1.0
    """Seconds between two frames up to which objects are followed from one to the next."""
    accept: float = 0.4
    """Fused score from which on a detection is an object; `LabelConfig.accept` is for one detector's scores."""
    doubt: float = 0.2
    """From here up to `accept` it is neither object nor background."""

    @property
    def looks(self) -> float:
        """Times that the teacher looks at each frame; an enlarged one counts by its area.

        Once for detections in each view, again for the BatchNorm statistics of cleared and of enlarged frames, and for
        soft targets.
        """
        enlarged_area = self.zoom**2 if self.zoom > 1.0 else 0.0
        return 1.0 + self.mirror + 2 * enlarged_area + 1.0 + (self.amplify > 1.0)

    def __post_init__(self) -> None:
        if not 0.0 <= self.doubt <= self.accept <= 1.0:
            raise ConfigError(f"need 0 <= refinement.doubt <= refinement.accept <= 1, got {self.doubt}, {self.accept}")
        if self.amplify < 1.0:
            raise ConfigError(f"need refinement.amplify >= 1, got {self.amplify}")
        if self.zoom < 1.0 or not 0.0 < self.overlap <= 1.0:
            raise ConfigError(
                f"need refinement.zoom >= 1 and 0 < refinement.overlap <= 1, got {self.zoom} and {self.overlap}"
            )
        if not 0.0 <= self.tracks <= 1.0 or self.tracks_within_s < 0:
            raise ConfigError(
                "need 0 <= refinement.tracks <= 1 and refinement.tracks_within_s >= 0, "
                f"got {self.tracks} and {self.tracks_within_s}"
            )


def confirmed_supervision(
    models: Sequence[FasterRCNN],
    images: Tensor,
    labels: LabelConfig,
    refinement: RefinementConfig,
    *,
    spacing_s: float,
    earlier: Round | None = None,
) -> Round:
    """Label frames with what several views, detectors and neighbouring frames agree on.

    Soft targets and features are the first detector's own, on its own regions of the frames that all look at; soft
    targets of an earlier round stay beside them, on theirs.

    Args:
        models: the teacher, then further detectors of the same classes; all in eval mode, with the BatchNorm
            statistics of the scene.
        images: (N, 3, H, W) uint8 frames of one fixed camera, in order of time.
        labels: number of regions; its thresholds hold where nothing confirms the teacher.
        refinement: what confirms it.
        spacing_s: seconds between two frames.
        earlier: round before, whose views count as well.

    Returns:
        One supervision a frame, on the CPU, and all views; with nothing to confirm the teacher the same words as
        `supervise`.
    """
    with clearly_seen(models, images, refinement) as seen:
        views = [*(earlier.views if earlier else ()), *gathered_views(models, seen, refinement)]
        words = agreed_supervision(models[0], views, seen, labels, refinement, spacing_s=spacing_s)
    if earlier is not None:
        words = [with_targets_of(new, old) for new, old in zip(words, earlier.words, strict=True)]
    return Round(words=words, views=views)


@contextmanager
def clearly_seen(models: Sequence[FasterRCNN], images: Tensor, refinement: RefinementConfig) -> Iterator[Tensor]:
    """Frames as models look at them to label them, and their BatchNorm statistics in the models until the block ends.

    Args:
        models: as for `confirmed_supervision`.
        images: (N, 3, H, W) uint8 frames of one fixed camera.
        refinement: tells how much to amplify; with 1, or too few frames to know the background, nothing changes.
    """
    with ExitStack() as stack:
        if refinement.amplify > 1.0 and len(images) >= LEAST_FRAMES:
            images = cleared(images, amplify=refinement.amplify)
            for model in models:
                stack.enter_context(statistics_of(model, images))
        yield images


def gathered_views(models: Sequence[FasterRCNN], images: Tensor, refinement: RefinementConfig) -> list[View]:
    """What each model finds on frames: models of the teacher's architecture from all sides, others once.

    One view of a pruned peer, so that a terminal does not outvote its teacher.

    Args:
        models: as for `confirmed_supervision`.
        images: (N, 3, H, W) uint8.
        refinement: tells which views.
    """
    size = sum(p.numel() for p in models[0].parameters())
    views = looks(models[0], images, refinement)
    for peer in models[1:] if refinement.peers else ():
        alike = sum(p.numel() for p in peer.parameters()) == size
        views += looks(peer, images, refinement) if alike else [predict(peer, images)]
    return views


def agreed_supervision(
    teacher: FasterRCNN,
    views: Sequence[View],
    images: Tensor,
    labels: LabelConfig,
    refinement: RefinementConfig,
    *,
    spacing_s: float,
) -> list[Supervision]:
    """Words on what views agree on; see `confirmed_supervision`."""
    follows = refinement.tracks > 0 and spacing_s <= refinement.tracks_within_s
    if len(views) == 1 and not follows:
        return supervise(teacher, images, labels)
    found = [fused(frame, overlap=refinement.overlap) for frame in zip(*views, strict=True)]
    if follows:
        found = supported(found, share=refinement.tracks)
    annotations = [annotated(detections, refinement.accept, refinement.doubt) for detections in found]
    return described(teacher, images, annotations, labels.regions)


def looks(model: FasterRCNN, images: Tensor, refinement: RefinementConfig) -> list[View]:
    """Detections of a model in each view, frame by frame in pixels of the plain frames.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8.
        refinement: tells which views.
    """
    views: list[View] = [predict(model, images)]
    if refinement.mirror:
        found = predict(model, images.flip(-1))
        views.append([{**d, "boxes": mirrored_boxes(d["boxes"], images.shape[-1])} for d in found])
    if refinement.zoom > 1.0:
        with enlarged(model, images, refinement.zoom):
            views.append(predict(model, images))
    return views


@contextmanager
def enlarged(model: FasterRCNN, images: Tensor, factor: float) -> Iterator[None]:
    """A detector that enlarges its input, with BatchNorm statistics of enlarged frames; both are undone afterwards.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8 frames that give the statistics.
        factor: of the network's input size.
    """
    transform, sizes = model.transform, (model.transform.min_size, model.transform.max_size)
    transform.min_size = tuple(round(factor * size) for size in sizes[0])
    transform.max_size = round(factor * sizes[1])
    try:
        with statistics_of(model, images):
            yield
    finally:
        transform.min_size, transform.max_size = sizes


@contextmanager
def statistics_of(model: FasterRCNN, images: Tensor) -> Iterator[None]:
    """A detector with the BatchNorm statistics of given frames, undone afterwards.

    Args:
        model: in eval mode.
        images: (N, 3, H, W) uint8.
    """
    with kept_batch_norm(model):
        re_estimate(model, images)
        yield


def annotated(detections: Prediction, accept: float, doubt: float) -> Annotation:
    """Detections as pseudo-labels, objects before ignore regions.

    Args:
        detections: of one frame.
        accept: score from which on one is an object.
        doubt: score from which on one is an ignore region.
    """
    kept = detections["scores"] >= doubt
    ignore = detections["scores"][kept] < accept
    order = torch.argsort(ignore.int(), stable=True)
    return Annotation(
        boxes=detections["boxes"][kept][order], labels=detections["labels"][kept][order], ignore=ignore[order]
    )


@torch.no_grad()
def described(
    teacher: FasterRCNN, images: Tensor, annotations: Sequence[Annotation], regions: int, *, batch_size: int = 16
) -> list[Supervision]:
    """A teacher's soft targets on its own regions, and its features of given objects.

    Args:
        teacher: in eval mode.
        images: (N, 3, H, W) uint8.
        annotations: one a frame; ignore regions get no feature.
        regions: regions a frame that carry soft targets.
        batch_size: frames at a time.
    """
    device, (height, width) = next(teacher.parameters()).device, images.shape[2:]
    out: list[Supervision] = []
    for chunk, labels in zip(images.split(batch_size), _chunks(annotations, batch_size), strict=True):
        batch, _ = teacher.transform(as_list(chunk.to(device)), None)
        features = teacher.backbone(batch.tensors)
        scales = [torch.tensor([w / width, h / height] * 2, device=device) for h, w in batch.image_sizes]
        objects = [a.boxes[~a.ignore].to(device) * scale for a, scale in zip(labels, scales, strict=True)]
        proposals = [p[:regions] for p in teacher.rpn(batch, features, None)[0]]
        seen = look_at(teacher, features, proposals, batch.image_sizes)
        described = look_at(teacher, features, objects, batch.image_sizes).features
        counts = [len(p) for p in proposals]
        rows = zip(
            labels,
            [p / scale for p, scale in zip(proposals, scales, strict=True)],
            seen.logits.split(counts),
            seen.deltas.split(counts),
            described.split([len(o) for o in objects]),
            strict=True,
        )
        for annotation, boxes, logits, deltas, described_objects in rows:
            out.append(
                Supervision(
                    annotation=annotation,
                    regions=boxes.cpu(),
                    logits=logits.cpu(),
                    deltas=deltas.cpu(),
                    features=described_objects.cpu(),
                )
            )
    return out


def _chunks(annotations: Sequence[Annotation], size: int) -> Iterator[Sequence[Annotation]]:
    return (annotations[start : start + size] for start in range(0, len(annotations), size))
