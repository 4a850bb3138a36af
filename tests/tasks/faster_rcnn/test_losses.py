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
    _inside,
    prepare,
    propose,
    region_loss,
    targets_of,
)
from nestevo_hw.tasks.losses import IGNORED, kl_divergence


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


def test_inside_counts_the_share_of_the_box_not_of_the_region():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 4], [90, 90, 99, 99]])
    assert _inside(boxes, torch.tensor([[0.0, 0, 100, 4]])).tolist() == [False, True, False]
    assert _inside(boxes, torch.zeros(0, 4)).tolist() == [False, False, False]


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
    batch, targets = prepare(detector, images, targets_of([everything], torch.device("cpu")))
    features = detector.backbone(batch.tensors)
    anchors = detector.rpn.anchor_generator(batch, list(features.values()))[0]
    inside = _inside(anchors, targets[0]["ignore"])
    assert inside.float().mean() > 0.8
    _, partly = propose(detector, batch, features, targets)
    targets[0]["ignore"] = torch.zeros(0, 4)
    _, fully = propose(detector, batch, features, targets)
    assert float(partly.detach()) != float(fully.detach())


def test_ignored_regions_do_not_enter_the_loss():
    output = RegionOutput(features=torch.zeros(2, 3), logits=torch.randn(2, 3), deltas=torch.zeros(2, 12))
    offsets = [torch.zeros(2, 4)]
    regions = Regions(boxes=[torch.zeros(2, 4)], labels=[torch.tensor([0, IGNORED])], offsets=offsets)
    alone = torch.nn.functional.cross_entropy(output.logits[:1], torch.tensor([0]))
    assert float(region_loss(output, regions)) == pytest.approx(float(alone))
    regions.labels = [torch.tensor([IGNORED, IGNORED])]
    assert float(region_loss(output, regions)) == 0.0


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
