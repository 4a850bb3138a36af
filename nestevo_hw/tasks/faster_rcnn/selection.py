"""Which anchors and regions Faster R-CNN trains on, for all images of a batch at once: matching, sampling."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher

from nestevo_hw.tasks.faster_rcnn.coding import area, shared_area
from nestevo_hw.tasks.faster_rcnn.shapes import fixed
from nestevo_hw.tasks.targets import IGNORE, Targets

IGNORE_OVERLAP = 0.5
"""A background region that lies more than this share inside an ignore region teaches nothing."""
OBJECT, BACKGROUND, UNDECIDED = 1, 0, -1
"""What a box is, as samplers of torchvision know it; an undecided one is never drawn."""


def matched(boxes: Tensor, targets: Targets, matcher: Matcher) -> tuple[Tensor, Tensor, Tensor]:
    """Compare boxes with objects, as torchvision's matcher does image by image.

    Args:
        boxes: (N, A, 4), or (1, A, 4) for the same in every image.
        targets: of N images.
        matcher: says from which overlap on a box shows an object.

    Returns:
        (N, A) OBJECT, BACKGROUND or UNDECIDED; (N, A) which of the targets it overlaps most; (N, A) bool, whether it
        lies in an ignore region.
    """
    shared, own = shared_area(targets.boxes, boxes), area(boxes)
    inside = torch.zeros_like(shared[:, 0], dtype=torch.bool)
    if targets.ignores:
        regions = (targets.labels == IGNORE)[:, :, None]
        inside = (regions & (shared > IGNORE_OVERLAP * own[:, None])).any(1)
    overlap = shared / (area(targets.boxes)[:, :, None] + own[:, None] - shared)
    objects = (targets.labels > 0)[:, :, None]
    overlap = overlap.masked_fill_(~objects, -1.0)
    best, which = overlap.max(1)
    kind = (best >= matcher.high_threshold).long()
    kind = kind.masked_fill_((best >= matcher.low_threshold) & (best < matcher.high_threshold), UNDECIDED)
    if matcher.allow_low_quality_matches:
        nearest = ((overlap == overlap.amax(2, keepdim=True)) & objects).any(1)
        kind = kind.masked_fill_(nearest, OBJECT)
    return kind, which, inside


def drawn(kinds: Tensor, sampler: BalancedPositiveNegativeSampler) -> tuple[Tensor, Tensor]:
    """Draw samples of each image: objects up to the sampler's share of them, the rest from the background.

    Args:
        kinds: (N, A) of each box; see `matched`.
        sampler: says how many.

    Returns:
        (N, S) rows of the samples, and (N, S) whether there is one: where there are too few, rows without meaning
        fill up.
    """
    count = sampler.batch_size_per_image
    return (_drawn_at_once if fixed(kinds) else _drawn_by_image)(kinds, count, int(count * sampler.positive_fraction))


def _drawn_by_image(kinds: Tensor, count: int, most_objects: int) -> tuple[Tensor, Tensor]:
    """With the random numbers that torchvision's sampler would take."""
    rows = []
    for own in kinds:
        objects, background = (torch.where(own == kind)[0] for kind in (OBJECT, BACKGROUND))
        some = objects[torch.randperm(len(objects))[:most_objects]]
        others = background[torch.randperm(len(background))[: count - len(some)]]
        found = torch.cat([some, others])
        rows.append(F.pad(found, (0, count - len(found)), value=-1))
    chosen = torch.stack(rows)
    return chosen.clamp(min=0), chosen >= 0


def _drawn_at_once(kinds: Tensor, count: int, most_objects: int) -> tuple[Tensor, Tensor]:
    """A random number for each box: the largest win, and objects that have won come before all background."""
    lots = torch.rand(kinds.shape, device=kinds.device)
    prize, objects = lots.masked_fill(kinds != OBJECT, -1.0).topk(min(most_objects, kinds.shape[1]), 1)
    lots = lots.masked_fill_(kinds != BACKGROUND, -1.0)
    lots = lots.scatter(1, objects, torch.where(prize >= 0, prize + 1.0, lots.gather(1, objects)))
    best, rows = lots.topk(min(count, kinds.shape[1]), 1)
    missing = (0, count - rows.shape[1])
    return F.pad(rows, missing), F.pad(best, missing, value=-1.0) >= 0
