"""A teacher's supervision: thresholds, mirrored frames, files, and learning from it."""

from dataclasses import replace

import pytest
import torch

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.models.faster_rcnn import as_list, fasterrcnn_tiny
from nestevo_hw.tasks.faster_rcnn.labelling import label_frames
from nestevo_hw.tasks.faster_rcnn.losses import distillation_loss
from nestevo_hw.tasks.supervision import LabelConfig, load_supervision, save_supervision

LOW = LabelConfig(high_confidence=0.3, low_confidence=0.2, regions=20)


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return fasterrcnn_tiny(4).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 255, (3, 3, 128, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_frames_without_a_region_are_mirrored(teacher, images):
    (one,) = label_frames(teacher, images[:1], LOW)
    none = replace(one, regions=one.regions[:0], logits=one.logits[:0], deltas=one.deltas[:0])
    assert none.mirrored(160).deltas.shape == none.deltas.shape == (0, one.deltas.shape[1])
    assert torch.equal(one.mirrored(160).mirrored(160).deltas, one.deltas)


def test_scores_decide_between_object_ignore_region_and_nothing(teacher, images):
    with torch.no_grad():
        found = teacher(as_list(images))
    supervision = label_frames(teacher, images, LabelConfig(high_confidence=0.3, low_confidence=0.2, regions=60))
    for one, detections in zip(supervision, found, strict=True):
        scores = detections["scores"]
        assert int((~one.annotation.ignore).sum()) == int((scores >= 0.3).sum())
        assert int(one.annotation.ignore.sum()) == int(((scores >= 0.2) & (scores < 0.3)).sum())
        assert len(one.features) == int((scores >= 0.3).sum())


def test_supervision_survives_its_file(teacher, images, tmp_path):
    supervision = label_frames(teacher, images, LOW)
    save_supervision(supervision, tmp_path / "s.safetensors")
    for back, one in zip(load_supervision(tmp_path / "s.safetensors"), supervision, strict=True):
        assert torch.equal(back.annotation.boxes, one.annotation.boxes)
        assert torch.equal(back.logits, one.logits)
        assert torch.equal(back.features, one.features)
    with pytest.raises(InputError, match="no file"):
        load_supervision(tmp_path / "absent.safetensors")


def test_mirroring_twice_changes_nothing_and_once_mirrors_the_offsets(teacher, images):
    one = label_frames(teacher, images, LOW)[0]
    twice = one.mirrored(160).mirrored(160)
    torch.testing.assert_close(twice.regions, one.regions)
    torch.testing.assert_close(twice.deltas, one.deltas)
    coder = teacher.roi_heads.box_coder
    boxes = coder.decode(one.deltas, [one.regions])[:, 1]
    turned = one.mirrored(160)
    mirrored = coder.decode(turned.deltas, [turned.regions])[:, 1]
    torch.testing.assert_close(mirrored[:, 0], 160 - boxes[:, 2], atol=1e-3, rtol=1e-4)


def test_a_student_equal_to_its_teacher_has_no_soft_loss(teacher, images):
    """In eval mode student and teacher see the same regions with the same statistics."""
    supervision = label_frames(teacher, images, LOW)
    teacher.rpn.train()
    loss = distillation_loss(teacher, as_list(images), supervision, temperature=2.0, soft_share=1.0)
    teacher.eval()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-5)


def test_impossible_thresholds_are_refused():
    with pytest.raises(ConfigError, match=r"low_confidence <= labels\.high_confidence"):
        LabelConfig(high_confidence=0.2, low_confidence=0.5)
