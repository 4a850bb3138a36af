"""Augmentation keeps images in range, and mirrors boxes with their images."""

import torch

from nestevo_hw.streams.augment import MILD, Augmentation, augment, mirrored, mirrored_boxes
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.storage import concatenate, load_frames, save_frames


def test_augmented_images_stay_in_range_and_repeat_from_their_generator():
    image = torch.rand(3, 8, 10)
    first, second = (augment(image, MILD, torch.Generator().manual_seed(1), flip=False) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, image)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


def test_a_mirrored_object_lies_under_its_mirrored_box():
    image = torch.zeros(3, 8, 10)
    image[:, 2:5, 1:4] = 1.0
    flipped = augment(image, Augmentation(), torch.Generator(), flip=True)
    x1, y1, x2, y2 = mirrored_boxes(torch.tensor([[1.0, 2, 4, 5]]), 10)[0].int().tolist()
    assert flipped[:, y1:y2, x1:x2].min() == 1.0
    assert flipped.sum() == image.sum()


def test_mirroring_twice_is_nothing():
    annotation = Annotation.of(torch.tensor([[1.0, 2, 4, 5]]), torch.tensor([2]))
    assert torch.equal(mirrored(mirrored(annotation, 10), 10).boxes, annotation.boxes)


def test_frames_survive_their_file_with_and_without_truth(tmp_path):
    stream = SyntheticStream(name="a", place="campus", seed=1)
    batch = concatenate([stream.read([0, 50]), stream.read([7])])
    for kept in (batch, batch.unlabelled()):
        save_frames(kept, tmp_path / "frames.safetensors")
        back = load_frames(tmp_path / "frames.safetensors")
        assert torch.equal(back.images, kept.images)
        assert back.indices == (0, 50, 7)
        assert (back.truth is None) == (kept.truth is None)
        for a, b in zip(back.truth or (), kept.truth or (), strict=True):
            assert torch.equal(a.boxes, b.boxes)
            assert torch.equal(a.labels, b.labels)
