"""Training of whole batches against torchvision's own, image by image, and with shapes that no value decides."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_iou
from torchvision.ops.poolers import initLevelMapper

from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.models.faster_rcnn import as_list, fasterrcnn_tiny
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.faster_rcnn import losses, proposals, selection
from nestevo_hw.tasks.faster_rcnn.pooling import pooled
from nestevo_hw.tasks.faster_rcnn.proposals import propose
from nestevo_hw.tasks.faster_rcnn.regions import (
    proposal_loss,
    region_loss,
    run_on_regions,
    sample_regions,
    score_anchors,
)
from nestevo_hw.tasks.faster_rcnn.shapes import fixed_shapes
from nestevo_hw.tasks.faster_rcnn.targets import inputs_of, prepare
from nestevo_hw.tasks.losses import IGNORED
from nestevo_hw.tasks.targets import IGNORE, Targets, targets_of

NOTHING = Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
SOME = Annotation(
    boxes=torch.tensor([[10.0, 10, 50, 60], [80.0, 40, 120, 90], [60.0, 0, 160, 128]]),
    labels=torch.tensor([1, 2, 3]),
    ignore=torch.tensor([False, False, True]),
)
FRAMES = [0, 40, 300, 310]


@pytest.fixture(scope="module")
def scene():
    """Images and labels: as rendered, with an ignore region, with nothing."""
    batch = SyntheticStream(name="a", place="park", seed=2).read(FRAMES)
    return as_list(batch.images), [batch.truth[0], SOME, NOTHING, batch.truth[3]]


@pytest.fixture
def detector():
    return load_pretrained("fasterrcnn-tiny").train()


def in_torchvision(annotations):
    return [
        {"boxes": a.boxes[~a.ignore], "labels": a.labels[~a.ignore], "regions": a.boxes[a.ignore]} for a in annotations
    ]


def inside(boxes, regions):
    """Which boxes lie to more than half in one of the regions, one by one."""
    found = torch.zeros(len(boxes), dtype=torch.bool)
    for region in regions:
        shared = (torch.minimum(boxes[:, 2:], region[2:]) - torch.maximum(boxes[:, :2], region[:2])).clamp(min=0)
        sides = boxes[:, 2:] - boxes[:, :2]
        found |= shared.prod(1) > selection.IGNORE_OVERLAP * sides.prod(1)
    return found


def by_image(model, images, annotations):
    """Torchvision's own functions with its own draws: features, proposals, regions, and the loss of each part."""
    targets = in_torchvision(annotations)
    batch, scaled = model.transform(images, [{k: t[k] for k in ("boxes", "labels")} for t in targets])
    features = model.backbone(batch.tensors)
    rpn, levels = model.rpn, list(features.values())
    objectness, deltas = rpn.head(levels)
    anchors = rpn.anchor_generator(batch, levels)
    counts = [o[0].numel() for o in objectness]
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    decoded = rpn.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
    found, _ = rpn.filter_proposals(decoded, objectness.detach(), batch.image_sizes, counts)
    labels, wanted = rpn.assign_targets_to_anchors(anchors, scaled)
    for label, anchor, target in zip(labels, anchors, targets, strict=True):
        label[(label == 0) & inside(anchor, target["regions"])] = -1.0
    labels = [label.to(objectness) for label in labels]
    first = sum(rpn.compute_loss(objectness, deltas, labels, rpn.box_coder.encode(wanted, anchors)))
    boxes, _, kinds, offsets = model.roi_heads.select_training_samples([p.clone() for p in found], scaled)
    for kind, box, target in zip(kinds, boxes, targets, strict=True):
        kind[(kind == 0) & inside(box, target["regions"])] = IGNORED
    heads = model.roi_heads
    logits, shifts = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, boxes, batch.image_sizes)))
    second = sum(fastrcnn_loss(logits, shifts, kinds, offsets))
    return {"features": features, "proposals": found, "boxes": boxes, "kinds": kinds, "losses": (first, second)}


def at_once(model, images, annotations):
    batch, targets = prepare(model, images, annotations)
    features = model.backbone(batch.tensors)
    scored = score_anchors(model, batch, features)
    first = proposal_loss(model, scored, targets)
    found = propose(model.rpn, scored, batch.image_sizes)
    regions = sample_regions(model, found, targets)
    second = region_loss(run_on_regions(model, features, regions, batch.image_sizes), regions)
    return {"proposals": found, "regions": regions, "losses": (first, second)}


@pytest.mark.parametrize("few", [False, True])
def test_proposals_samples_and_losses_are_torchvision_s_own(detector, scene, few):
    """With ignore regions, a frame without objects, and, the second time, too few proposals to sample from.

    In double precision, so that nothing but the order of sums is left.
    """
    detector.double()
    scene = [image.double() for image in scene[0]], [replace(a, boxes=a.boxes.double()) for a in scene[1]]
    if few:
        detector.rpn._post_nms_top_n["training"] = 20
    torch.manual_seed(5)
    theirs = by_image(detector, *scene)
    torch.manual_seed(5)
    ours = at_once(detector, *scene)
    for boxes, own, real in zip(theirs["proposals"], *ours["proposals"], strict=True):
        torch.testing.assert_close(own[real], boxes)
    regions, count = ours["regions"], len(FRAMES)
    assert bool(regions.real.all()) is not few
    rows = zip(regions.boxes, regions.labels.view(count, -1), regions.real.view(count, -1), strict=True)
    for boxes, kinds, (own, labels, real) in zip(theirs["boxes"], theirs["kinds"], rows, strict=True):
        seen = torch.cat([own[real], labels[real, None]], 1)
        expected = torch.cat([boxes, kinds[:, None]], 1)
        torch.testing.assert_close(_sorted(seen), _sorted(expected))
    gradients = []
    for found in (theirs, ours):
        detector.zero_grad()
        sum(found["losses"]).backward()
        gradients.append([p.grad.clone() for p in detector.parameters()])
    torch.testing.assert_close(ours["losses"], theirs["losses"], rtol=1e-10, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def _sorted(rows):
    return torch.tensor(sorted(rows.tolist()))


def test_with_everything_drawn_fixed_shapes_give_the_same_losses(detector, scene):
    """Where there is no choice, the random numbers do not matter; both losses, and the regions' features."""
    for sampler, count in ((detector.rpn.fg_bg_sampler, 12_000), (detector.roi_heads.fg_bg_sampler, 250)):
        sampler.batch_size_per_image, sampler.positive_fraction = count, 0.5
    detector.rpn._post_nms_top_n["training"] = 100
    plain = at_once(detector, *scene)
    with fixed_shapes():
        fixed = at_once(detector, *scene)
    for one, other in zip(fixed["proposals"], plain["proposals"], strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(fixed["losses"], plain["losses"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("objects", [0, 3, 40])
def test_draws_at_once_are_as_many_and_as_likely_as_image_by_image(objects):
    """A quarter of 16 samples at most are objects; the rest, and the undecided never, background; each as likely."""
    kinds = torch.full((600, 60), selection.BACKGROUND)
    kinds[:, :objects] = selection.OBJECT
    kinds[:, 55:] = selection.UNDECIDED
    torch.manual_seed(1)
    for draw in (selection._drawn_by_image, selection._drawn_at_once):
        rows, real = draw(kinds, 16, 4)
        assert rows.shape == (600, 16)
        taken = torch.zeros(600, 60).scatter_add_(1, rows, real.float())
        assert taken.max() == 1
        expected = min(objects, 4)
        assert (taken[:, :objects].sum(1) == expected).all()
        others = min(16 - expected, 55 - objects)
        assert (taken[:, objects:55].sum(1) == others).all()
        assert taken[:, 55:].sum() == 0
        often = taken.mean(0)
        for part, count in ((often[:objects], expected), (often[objects:55], others)):
            if len(part):
                torch.testing.assert_close(part, torch.full_like(part, count / len(part)), atol=0.09, rtol=0)


def test_too_few_to_draw_from_are_filled_up():
    kinds = torch.tensor([[1, 0, -1], [-1, -1, -1]])
    for draw in (selection._drawn_by_image, selection._drawn_at_once):
        rows, real = draw(kinds, 8, 2)
        assert rows.shape == real.shape == (2, 8)
        assert sorted(rows[0][real[0]].tolist()) == [0, 1]
        assert not real[1].any()
        assert 0 <= int(rows.min()) <= int(rows.max()) < 3


def greedy(boxes, threshold):
    """Non-maximum suppression by its definition."""
    kept = []
    for number, box in enumerate(boxes):
        if all(box_iou(box[None], boxes[[k]])[0, 0] <= threshold for k in kept):
            kept.append(number)
    return kept


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_suppression_as_a_fixed_point_is_the_greedy_one(threshold):
    random = torch.Generator().manual_seed(3)
    counts = [40, 7, 1]
    corner = torch.rand(2, sum(counts), 2, generator=random) * 30
    boxes = torch.cat([corner, corner + 10 + 20 * torch.rand(2, sum(counts), 2, generator=random)], -1)
    kept = proposals._kept_at_once(boxes, counts, threshold)
    scores, valid = torch.linspace(1, 0.1, sum(counts)).expand(2, -1), torch.ones(2, sum(counts), dtype=torch.bool)
    for image in range(2):
        expected, start = [], 0
        for level in boxes[image].split(counts):
            expected += [start + k for k in greedy(level, threshold)]
            start += len(level)
        assert torch.where(kept[image])[0].tolist() == expected
    for other in (proposals._kept_by_level, proposals._kept_by_image):
        assert torch.equal(other(boxes, scores, valid, counts, threshold), kept)


def test_a_chain_is_followed_to_its_end():
    """Each box overlaps the next alone, so every other one stays."""
    count = proposals.ROUNDS
    start = torch.arange(count) * 2.0
    boxes = torch.stack([start, torch.zeros(count), start + 10, torch.ones(count)], 1)[None]
    kept = proposals._kept_at_once(boxes, [count], 0.6)
    assert kept[0].tolist() == [True, False] * (count // 2)


def test_regions_are_pooled_as_by_torchvision(detector, scene):
    """Values and gradients; some regions lie partly outside of the image, some have no extent."""
    detector.double()
    batch = inputs_of(detector.transform, [image.double() for image in scene[0]])
    features = {name: m.detach().requires_grad_() for name, m in detector.backbone(batch.tensors).items()}
    random = torch.Generator().manual_seed(3)
    corner = torch.rand(4, 60, 2, generator=random, dtype=torch.float64) * 200 - 40
    side = 110 * torch.rand(4, 60, 2, generator=random, dtype=torch.float64) ** 2
    side[:, :5] = 0.0
    boxes, pooler = list(torch.cat([corner, corner + side], -1)), detector.roi_heads.box_roi_pool
    with fixed_shapes():
        ours = pooled(pooler, features, boxes, batch.image_sizes)
    theirs = pooler(features, boxes, batch.image_sizes)
    weights = torch.rand(ours.shape, generator=random, dtype=torch.float64)
    used = [m for name, m in features.items() if name in pooler.featmap_names]
    found = [(made, *torch.autograd.grad((made * weights).sum(), used)) for made in (ours, theirs)]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def test_images_of_one_size_are_prepared_as_one_by_one():
    images = list(torch.rand(3, 3, 96, 130, generator=torch.Generator().manual_seed(1)))
    for sizes in ((128, 160), (96, 130), (60, 300)):
        model = fasterrcnn_tiny(3, min_size=sizes[0], max_size=sizes[1])
        for some in (images, [*images, torch.rand(3, 64, 64)]):
            torch.manual_seed(7)
            expected = model.transform(some)[0]
            after = torch.rand(1)
            torch.manual_seed(7)
            found = inputs_of(model.transform, some)
            assert torch.equal(torch.rand(1), after)
            torch.testing.assert_close(found.tensors, expected.tensors)
            assert found.image_sizes == [tuple(size) for size in expected.image_sizes]


def test_labels_of_a_batch_are_padded_and_scaled():
    targets = targets_of([NOTHING, SOME], [(1.0, 1.0), (2.0, 0.5)], torch.device("cpu"))
    assert targets.labels.tolist() == [[0, 0, 0], [1, 2, IGNORE]]
    assert targets.boxes[1, 0].tolist() == [20.0, 5.0, 100.0, 30.0]
    assert targets.ignores
    none = targets_of([NOTHING, NOTHING], [(1.0, 1.0)] * 2, torch.device("cpu"))
    assert none.labels.tolist() == [[0], [0]]


@pytest.mark.parametrize("kind", ["supervised", "mutual"])
def test_a_step_on_a_gpu_asks_for_no_value(kind, monkeypatch):
    """On fake tensors of a GPU whatever asks for a value raises, and so does a tensor that is elsewhere."""
    with FakeTensorMode() as mode, torch.device("cuda:0"):
        models = [fasterrcnn_tiny(4).train() for _ in range(2)]
        labels = torch.ones(3, 5, dtype=torch.int64)
        batch = ImageList(torch.rand(3, 3, 128, 160), [(128, 160)] * 3)
        targets = Targets(boxes=torch.rand(3, 5, 4), labels=labels, ignores=True)
        monkeypatch.setattr(losses, "prepare", lambda *_: (batch, targets))
    for model in models:  # what it asks for in its first step alone
        model.roi_heads.box_roi_pool.scales = [1 / 4, 1 / 8, 1 / 16]
        model.roi_heads.box_roi_pool.map_levels = initLevelMapper(2, 4)
    with mode:
        if kind == "supervised":
            loss = losses.supervised_pass(models[0], [], []).loss
        else:
            loss = sum(losses.mutual_losses(*models, [], [], alpha=0.5, beta=0.5))
    assert loss.device == torch.device("cuda:0")
    assert loss.shape == ()
