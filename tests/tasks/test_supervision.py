"""The teacher's words: thresholds, mirrored frames, files, and learning from them."""

import pytest
import torch

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.models.faster_rcnn import as_list, fasterrcnn_tiny
from nestevo_hw.tasks.detection_teaching import distillation_loss, supervise
from nestevo_hw.tasks.supervision import LabelConfig, described_objects, load_supervision, save_supervision

LOW = LabelConfig(accept=0.3, doubt=0.2, regions=20)


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return fasterrcnn_tiny(4).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 255, (3, 3, 128, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_scores_decide_between_object_doubt_and_nothing(teacher, images):
    with torch.no_grad():
        found = teacher(as_list(images))
    words = supervise(teacher, images, LabelConfig(accept=0.3, doubt=0.2, regions=60))
    for word, detections in zip(words, found, strict=True):
        scores = detections["scores"]
        assert int((~word.annotation.ignore).sum()) == int((scores >= 0.3).sum())
        assert int(word.annotation.ignore.sum()) == int(((scores >= 0.2) & (scores < 0.3)).sum())
        assert len(word.features) == int((scores >= 0.3).sum())


def test_words_survive_their_file(teacher, images, tmp_path):
    words = supervise(teacher, images, LOW)
    save_supervision(words, tmp_path / "w.safetensors")
    for back, word in zip(load_supervision(tmp_path / "w.safetensors"), words, strict=True):
        assert torch.equal(back.annotation.boxes, word.annotation.boxes)
        assert torch.equal(back.logits, word.logits)
        assert torch.equal(back.features, word.features)
    with pytest.raises(InputError, match="no file"):
        load_supervision(tmp_path / "absent.safetensors")


def test_mirroring_twice_gives_the_word_back_and_mirrors_the_offsets(teacher, images):
    word = supervise(teacher, images, LOW)[0]
    twice = word.mirrored(160).mirrored(160)
    torch.testing.assert_close(twice.regions, word.regions)
    torch.testing.assert_close(twice.deltas, word.deltas)
    coder = teacher.roi_heads.box_coder
    boxes = coder.decode(word.deltas, [word.regions])[:, 1]
    turned = word.mirrored(160)
    mirrored = coder.decode(turned.deltas, [turned.regions])[:, 1]
    torch.testing.assert_close(mirrored[:, 0], 160 - boxes[:, 2], atol=1e-3, rtol=1e-4)


def test_a_student_equal_to_its_teacher_has_no_soft_loss(teacher, images):
    """In eval mode student and teacher see the same regions with the same statistics."""
    words = supervise(teacher, images, LOW)
    teacher.rpn.train()
    loss = distillation_loss(teacher, as_list(images), words, temperature=2.0, soft_share=1.0)
    teacher.eval()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-5)


def test_described_objects_match_their_labels(teacher, images):
    words = supervise(teacher, images, LOW)
    features, labels = described_objects(words)
    assert len(features) == len(labels) == sum(int((~w.annotation.ignore).sum()) for w in words)


def test_impossible_thresholds_are_refused():
    with pytest.raises(ConfigError, match=r"doubt <= labels\.accept"):
        LabelConfig(accept=0.2, doubt=0.5)
