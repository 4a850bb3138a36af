"""Detection losses: ignore regions, shared-proposal mutual learning, soft targets, against independent oracles."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from nestevo_hw.models.faster_rcnn import as_list, fasterrcnn_tiny
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.tasks.faster_rcnn.labelling import predict
from nestevo_hw.tasks.faster_rcnn.losses import box_agreement, supervised_pass
from nestevo_hw.tasks.faster_rcnn.regions import (
    RegionOutput,
    Regions,
    proposal_loss,
    region_loss,
    score_anchors,
)
from nestevo_hw.tasks.faster_rcnn.selection import matched
from nestevo_hw.tasks.faster_rcnn.targets import prepare
from nestevo_hw.tasks.losses import IGNORED, kl_divergence
from nestevo_hw.tasks.targets import targets_of


def frames(count=2):
    return torch.randint(0, 255, (count, 3, 128, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def annotation(*ignore):
    boxes = torch.tensor([[10.0, 10, 50, 60], [80.0, 40, 120, 90]])
    flags = torch.tensor(ignore or (False, False))
    return Annotation(boxes=boxes, labels=torch.tensor([1, 2]), ignore=flags)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return fasterrcnn_tiny(4)


def test_divergence_is_the_kl_of_peer_and_student():
    random = torch.Generator().manual_seed(1)
    student, peer = torch.randn(5, 4, generator=random), torch.randn(5, 4, generator=random)
    for temperature in (1.0, 2.5):
        p = (peer / temperature).softmax(-1).numpy()
        q = (student / temperature).softmax(-1).numpy()
        expected = np.mean([entropy(a, b) for a, b in zip(p, q, strict=True)]) * temperature**2
        assert float(kl_divergence(student, peer, temperature)) == pytest.approx(expected, rel=1e-4)


def test_divergence_sends_no_gradient_to_the_peer():
    student, peer = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    kl_divergence(student, peer).backward()
    assert peer.grad is None
    assert student.grad is not None


def test_inside_counts_the_share_of_the_box_not_of_the_region(detector):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4], [90, 90, 99, 99]])[None]
    region = Annotation(boxes=torch.tensor([[0.0, 0, 100, 4]]), labels=torch.tensor([1]), ignore=torch.tensor([True]))
    for one, expected in ((region, [False, True, False]), (annotation(), [False, False, False])):
        targets = targets_of([one], [(1.0, 1.0)], torch.device("cpu"))
        _, _, inside = matched(boxes, targets, detector.rpn.proposal_matcher)
        assert inside[0].tolist() == expected


def test_loss_equals_torchvisions_own_without_ignore_regions(detector):
    """The oracle is FasterRCNN's forward with the same random draws."""
    images, annotations = as_list(frames()), [annotation(), annotation()]
    detector.train()
    torch.manual_seed(5)
    ours = supervised_pass(detector, images, annotations).loss
    torch.manual_seed(5)
    theirs = detector(images, [{"boxes": a.boxes, "labels": a.labels} for a in annotations])
    assert float(ours.detach()) == pytest.approx(float(sum(v.detach() for v in theirs.values())), rel=1e-5)


def test_anchors_in_an_ignore_region_are_not_background(detector):
    """With the whole frame ignored and no object nothing is left to learn, so the proposal loss is zero."""
    images = as_list(frames(1))
    everything = Annotation(
        boxes=torch.tensor([[0.0, 0.0, 160.0, 128.0]]), labels=torch.tensor([1]), ignore=torch.tensor([True])
    )
    batch, targets = prepare(detector, images, [everything])
    scored = score_anchors(detector, batch, detector.backbone(batch.tensors))
    _, _, inside = matched(scored.anchors[None], targets, detector.rpn.proposal_matcher)
    assert inside.float().mean() > 0.8
    partly = proposal_loss(detector, scored, targets)
    _, nothing = prepare(detector, images, [Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))])
    fully = proposal_loss(detector, scored, nothing)
    assert float(partly.detach()) != float(fully.detach())


def test_ignored_regions_do_not_enter_the_loss():
    output = RegionOutput(features=torch.zeros(2, 3), logits=torch.randn(2, 3), deltas=torch.zeros(2, 12))

    def regions(*labels):
        zero = torch.zeros(1, 2, 4)
        return Regions(boxes=zero, labels=torch.tensor(labels), offsets=zero[0], real=torch.tensor([True, True]))

    alone = torch.nn.functional.cross_entropy(output.logits[:1], torch.tensor([0]))
    assert float(region_loss(output, regions(0, IGNORED))) == pytest.approx(float(alone))
    assert float(region_loss(output, regions(IGNORED, IGNORED))) == 0.0


def test_box_agreement_compares_only_the_peers_foreground():
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    student = RegionOutput(features=torch.zeros(2, 1), logits=logits, deltas=torch.ones(2, 8))
    peer = torch.ones(2, 8)
    assert float(box_agreement(student, logits, peer)) == 0.0
    peer[0] += 5.0
    assert float(box_agreement(student, logits, peer)) == 0.0
    peer[1, 4] += 1.0
    assert float(box_agreement(student, logits, peer)) == pytest.approx((1 - 0.5 / 9) / 2)


def test_predictions_do_not_depend_on_the_batch_size(detector):
    detector.eval()
    one, many = predict(detector, frames(3), batch_size=1), predict(detector, frames(3), batch_size=3)
    for a, b in zip(one, many, strict=True):
        torch.testing.assert_close(a["scores"], b["scores"], atol=1e-5, rtol=1e-4)
