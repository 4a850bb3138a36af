"""Proposals of a region proposal network for all images of a batch at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import batched_nms, nms

from nestevo_hw.tasks.faster_rcnn.coding import area, clipped, decoded, shared_area
from nestevo_hw.tasks.faster_rcnn.shapes import fixed

MOST_AT_ONCE = 512
"""Boxes of a level of which every two are compared at once; of more, torchvision's kernel takes less memory."""
ROUNDS = 16
"""Links of a chain of boxes, each of which would suppress the next, that are followed one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What the network says of each anchor of N images."""

    objectness: Tensor
    """(N, A) logits."""
    offsets: Tensor
    """(N, A, 4) from the anchor to the object."""
    anchors: Tensor
    """(A, 4) x1 y1 x2 y2 in pixels of the network's input, the same in every image."""
    per_level: tuple[int, ...]
    """How many of the anchors each level of the pyramid has, in their order."""


@torch.no_grad()
def propose(
    rpn: RegionProposalNetwork, scored: Scored, sizes: Sequence[tuple[int, int]], most: int | None = None
) -> tuple[Tensor, Tensor]:
    """The likeliest boxes of each image that do not overlap one another, the likeliest first.

    Args:
        rpn: says how many, and what overlaps.
        scored: of N images.
        sizes: (H, W) of each, as the network sees it.
        most: boxes an image, where fewer than the network's own number are wanted.

    Returns:
        (N, P, 4) proposals, and (N, P) whether there is one.
    """
    rows, counts, start = [], [], 0
    for level in scored.objectness.split(scored.per_level, 1):
        counts.append(min(rpn.pre_nms_top_n(), level.shape[1]))
        rows.append(level.topk(counts[-1], 1).indices + start)
        start += level.shape[1]
    chosen = torch.cat(rows, 1)
    offsets = scored.offsets.gather(1, chosen[..., None].expand(-1, -1, 4))
    boxes = clipped(decoded(offsets, scored.anchors[chosen], rpn.box_coder), sizes)
    scores = scored.objectness.gather(1, chosen).sigmoid()
    sides = boxes[..., 2:] - boxes[..., :2]
    valid = (sides >= rpn.min_size).all(-1) & (scores >= rpn.score_thresh)
    kept = _kept(boxes, scores, valid, counts, rpn.nms_thresh)
    ranked, order = scores.masked_fill(~kept, -1.0).sort(dim=1, descending=True, stable=True)
    count = min(rpn.post_nms_top_n(), most or rpn.post_nms_top_n())
    best = boxes.gather(1, order[:, :count, None].expand(-1, -1, 4))
    return best, ranked[:, :count] >= 0


def _kept(boxes: Tensor, scores: Tensor, valid: Tensor, counts: Sequence[int], threshold: float) -> Tensor:
    """(N, T) which of (N, T, 4) valid boxes no likelier one of the same image and level overlaps by more.

    Boxes of a level stand together, the likeliest first.
    """
    if not fixed(boxes):
        return _kept_by_level(boxes, scores, valid, counts, threshold)
    if max(counts) > MOST_AT_ONCE:
        return _kept_by_image(boxes, scores, valid, counts, threshold)
    return valid & _kept_at_once(boxes.masked_fill(~valid[..., None], 0.0), counts, threshold)


def _kept_by_level(boxes: Tensor, scores: Tensor, valid: Tensor, counts: Sequence[int], threshold: float) -> Tensor:
    """Level by level of every image."""
    kept = torch.zeros_like(valid)
    plain = boxes.masked_fill(~valid[..., None], 0.0)
    for own, score, found in zip(plain, scores, kept, strict=True):
        for box, s, f in zip(own.split(counts), score.split(counts), found.split(counts), strict=True):
            f[nms(box, s, threshold)] = True
    return kept & valid


def _kept_by_image(boxes: Tensor, scores: Tensor, valid: Tensor, counts: Sequence[int], threshold: float) -> Tensor:
    """All levels of an image in one call."""
    kept = torch.zeros_like(valid)
    plain = boxes.masked_fill(~valid[..., None], 0.0)
    levels = torch.cat([torch.full((count,), k, device=boxes.device) for k, count in enumerate(counts)])
    for own, score, found in zip(plain, scores, kept, strict=True):
        found[batched_nms(own, score, levels, threshold)] = True
    return kept & valid


def _kept_at_once(boxes: Tensor, counts: Sequence[int], threshold: float) -> Tensor:
    """Greedy suppression as a fixed point: kept is whom nobody kept suppresses.

    Round k settles the boxes that k others in a row could decide about, so what is left undecided after ROUNDS is rare,
    and is kept.
    """
    most = max(counts)
    suppresses = boxes.new_zeros(len(boxes), len(counts), most, most)
    for number, (own, count) in enumerate(zip(boxes.split(list(counts), 1), counts, strict=True)):
        shared, size = shared_area(own, own), area(own)
        overlap = shared / (size[:, :, None] + size[:, None] - shared)
        suppresses[:, number, :count, :count] = (overlap > threshold).triu_(1)
    suppresses = suppresses.flatten(0, 1)
    every = suppresses.new_ones(len(suppresses), 1, most)
    kept = every
    for _ in range(ROUNDS):
        kept = torch.baddbmm(every, kept, suppresses, alpha=-1).clamp_(min=0)
    kept = kept.view(len(boxes), len(counts), most)
    return torch.cat([kept[:, number, :count] for number, count in enumerate(counts)], 1) > 0
