"""Pseudo-labels that views, detectors and neighbouring frames agree on."""

import copy
from dataclasses import replace

import pytest
import torch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.checkpoint import load_detector, resolve_checkpoint
from nestevo_hw.models.faster_rcnn import as_list
from nestevo_hw.streams.background import amplify_foreground
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.confirmation import ConfirmationConfig, LabelRound, load_views, save_views
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.faster_rcnn.confirmation import confirm_labels
from nestevo_hw.tasks.faster_rcnn.labelling import label_frames, predict, sights
from nestevo_hw.tasks.faster_rcnn.views import changed_views, enlarged, other_views
from nestevo_hw.tasks.metrics import mean_average_precision
from nestevo_hw.tasks.predictions import pseudo_labels
from nestevo_hw.tasks.supervision import LabelConfig

LABELS = LabelConfig(high_confidence=0.6, low_confidence=0.1, regions=20)
ALONE = ConfirmationConfig(amplify=1.0, mirror=False, zoom=1.0, ensemble=False, tracking_share=0.0)


@pytest.fixture(scope="module")
def teacher():
    return load_detector(resolve_checkpoint("fasterrcnn-tiny"))[0]


@pytest.fixture(scope="module")
def images():
    return SyntheticStream(name="square", place="square", seed=1).read([0, 5, 10]).images


def equal(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.annotation.boxes, b.annotation.boxes)
        assert torch.equal(a.annotation.labels, b.annotation.labels)
        assert torch.equal(a.annotation.ignore, b.annotation.ignore)
        for name in ("regions", "logits", "deltas", "features"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name))


def test_with_nothing_to_confirm_the_teacher_labels_alone(teacher, images):
    alone = confirm_labels([teacher], images, LABELS, ALONE, spacing_s=0.5).supervision
    equal(alone, label_frames(teacher, images, LABELS))


def test_a_member_that_is_the_teacher_changes_no_score(teacher, images):
    """The mean of twice the same is the same; only what one class detects twice is joined."""
    how = replace(ALONE, ensemble=True, overlap=1.0, high_confidence=0.6, low_confidence=0.15)
    labels = confirm_labels([teacher, copy.deepcopy(teacher)], images, LABELS, how, spacing_s=0.5).supervision
    found = predict(teacher, images)
    for one, detections in zip(labels, found, strict=True):
        assert int((~one.annotation.ignore).sum()) == int((detections["scores"] >= 0.6).sum())
        assert int(one.annotation.ignore.sum()) == int(
            ((detections["scores"] >= 0.15) & (detections["scores"] < 0.6)).sum()
        )


def test_the_mirrored_view_of_mirrored_frames_is_the_plain_view(teacher, images):
    how = replace(ALONE, mirror=True)
    plain, (mirrored,) = predict(teacher, images), changed_views(teacher, images, how)
    turned, (back,) = predict(teacher, images.flip(-1)), changed_views(teacher, images.flip(-1), how)
    for a, b in zip(plain, back, strict=True):
        left = torch.stack([160 - a["boxes"][:, 2], 160 - a["boxes"][:, 0]], 1)
        torch.testing.assert_close(b["boxes"][:, [0, 2]], left)
    for a, b in zip(turned, mirrored, strict=True):
        torch.testing.assert_close(a["scores"], b["scores"])


def test_enlarging_is_undone(teacher, images):
    model = copy.deepcopy(teacher)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with enlarged(model, images, 1.5):
        batch, _ = model.transform(as_list(images), None)
        assert batch.image_sizes[0] == (192, 240)
        assert not all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert (model.transform.min_size, model.transform.max_size) == ((128,), 160)
    assert not any(m.training for m in model.modules())
    with pytest.raises(ZeroDivisionError), enlarged(model, images, 1.5):
        _ = 1 / 0
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("kind", ["rain", "fog"])
def test_more_is_found_where_the_foreground_is_amplified(teacher, kind):
    """The median over the frames needs no truth, yet shows what weather hides."""
    drift = DriftScript(segments=(DriftSegment(start=0, kind=kind, strength=0.6),))
    frames = SyntheticStream(name="lane", place="downtown", seed=3, drift=drift).read(range(0, 240, 10))
    task, model, scores = Detection(), copy.deepcopy(teacher), []
    for images in (frames.images, amplify_foreground(frames.images, factor=ConfirmationConfig().amplify)):
        task.re_estimate(model, images)
        scores.append(mean_average_precision(predict(model, images), frames.truth, 3).map50)
    assert scores[1] > scores[0] + 0.05


def test_frames_far_apart_are_not_tracked(teacher, images):
    still = images[:1].expand(3, -1, -1, -1)
    how = replace(ALONE, tracking_share=0.5, tracking_gap_s=1.0, high_confidence=0.6)
    equal(
        confirm_labels([teacher], still, LABELS, how, spacing_s=2.0).supervision,
        confirm_labels([teacher], still, LABELS, replace(how, tracking_share=0.0), spacing_s=2.0).supervision,
    )
    moving = torch.cat([still[:1], torch.zeros_like(still[:1]), still[:1]])
    count = [
        sum(len(s.features) for s in confirm_labels([teacher], moving, LABELS, how, spacing_s=gap).supervision)
        for gap in (0.5, 2.0)
    ]
    assert count[0] < count[1], "what is gone in the next frame kept its score"


def test_objects_come_before_ignore_regions_with_a_feature_each(teacher, images):
    how = ConfirmationConfig(tracking_share=0.0)
    labels = confirm_labels([teacher, copy.deepcopy(teacher)], images, LABELS, how, spacing_s=0.5).supervision
    assert any(len(s.features) for s in labels)
    assert any(s.annotation.ignore.any() for s in labels)
    for one in labels:
        ignore = one.annotation.ignore.int()
        assert torch.equal(ignore, ignore.sort().values)
        assert one.features.shape == (int((1 - ignore).sum()), 128)
        assert len(one.regions) == len(one.logits) == len(one.deltas) <= LABELS.regions


def test_features_are_those_of_the_box_in_its_frame(teacher, images):
    boxes = torch.tensor([[10.0, 10.0, 50.0, 60.0], [70.0, 20.0, 90.0, 50.0]])
    objects = {"boxes": boxes, "labels": torch.tensor([1, 2]), "scores": torch.tensor([0.3, 0.9])}
    seen = sights(
        teacher,
        images,
        20,
        agreed=lambda frame, _: objects if frame else {k: v[:0] for k, v in objects.items()},
        batch_size=2,
    )
    supervision = [sight.supervision(sight.objects["scores"], 0.5, 0.25) for sight in seen]
    with torch.no_grad():
        features = teacher.backbone(teacher.transform(as_list(images[2:]), None)[0].tensors)
        pooled = teacher.roi_heads.box_roi_pool(features, [boxes[1:]], [(128, 160)])
        expected = teacher.roi_heads.box_head(pooled)
    torch.testing.assert_close(supervision[2].features, expected, atol=1e-5, rtol=1e-4)
    assert [len(s.features) for s in supervision] == [0, 1, 1]
    assert supervision[2].annotation.labels.tolist() == [2, 1]
    torch.testing.assert_close(supervision[2].annotation.boxes, boxes[[1, 0]])


def test_one_pass_sees_what_a_prediction_sees(teacher, images):
    for sight, found in zip(sights(teacher, images, 20), predict(teacher, images), strict=True):
        for key in ("boxes", "labels", "scores"):
            torch.testing.assert_close(sight.own[key], found[key])


def test_statistics_are_those_of_the_whole_backbone(teacher, images):
    """What lies behind the last BatchNorm layer need not run; torchvision's own forward pass gives the same."""
    part, whole = copy.deepcopy(teacher), copy.deepcopy(teacher)
    Detection().re_estimate(part, images)
    for norm in (norms := [m for m in whole.modules() if isinstance(m, torch.nn.BatchNorm2d)]):
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        whole(as_list(images))
    assert norms
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(part.state_dict()[name], tensor, atol=1e-5, rtol=1e-4)


def test_a_pass_of_the_teacher_counts_once():
    """Plain, mirrored and enlarged views, and statistics of all amplified and of some enlarged frames."""
    assert ConfirmationConfig(zoom=2.0).teacher_passes(96) == 2 * 96 + 4 * (96 + 32)
    assert ConfirmationConfig(zoom=2.0).teacher_passes(8) == (2 + 8) * 8
    assert ALONE.teacher_passes(96) == 96


def test_thresholds_include_their_value():
    scores = torch.tensor([0.25, 0.5, 0.125, 0.9])
    found = {"boxes": torch.arange(16.0).view(4, 4), "labels": torch.tensor([1, 2, 3, 1]), "scores": scores}
    annotation = pseudo_labels(found, 0.5, 0.25)
    assert annotation.labels.tolist() == [2, 1, 1]
    assert annotation.ignore.tolist() == [False, False, True]
    torch.testing.assert_close(annotation.boxes, found["boxes"][[1, 3, 0]])


def test_thresholds_in_the_wrong_order_are_refused():
    with pytest.raises(ConfigError, match=r"confirmation\.low_confidence <= confirmation\.high_confidence"):
        ConfirmationConfig(high_confidence=0.1)


def test_an_earlier_round_counts_and_survives_its_file(teacher, images, tmp_path):
    """The first round read back from its file gives the same labels; soft targets are those of both rounds."""
    task, how = Detection(), ConfirmationConfig(tracking_share=0.0)
    terminal = load_detector(resolve_checkpoint("fasterrcnn-tiny-m3"))[0]
    first = task.confirmed_labels([teacher, terminal], images, LABELS, how, spacing_s=0.5)
    assert len(first.views) == 4
    save_views(first.views, tmp_path / "views.safetensors")
    back = LabelRound(supervision=first.supervision, views=load_views(tmp_path / "views.safetensors"))
    second = task.confirmed_labels([terminal], images, LABELS, how, spacing_s=0.5, earlier=back)
    again = task.confirmed_labels([terminal], images, LABELS, how, spacing_s=0.5, earlier=first)
    equal(second.supervision, again.supervision)
    assert len(second.views) == 7
    alone = task.confirmed_labels([terminal], images, LABELS, how, spacing_s=0.5)
    for both, new, old in zip(second.supervision, alone.supervision, first.supervision, strict=True):
        torch.testing.assert_close(both.logits, torch.cat([new.logits, old.logits]))


def test_a_member_of_the_teachers_size_has_test_time_augmentation_too(teacher, images):
    views = other_views([teacher, copy.deepcopy(teacher)], images, ConfirmationConfig())
    assert len(views) == 5
    for one, other in zip(views[0], views[3], strict=True):
        torch.testing.assert_close(one["boxes"], other["boxes"])
