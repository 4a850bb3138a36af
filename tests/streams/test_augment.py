"""Augmentation keeps images in range, and mirrors boxes with their images."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tf

from nestevo_hw.streams.augment import MILD, Augmentation, augment, drawn_flips, mirrored, mirrored_boxes
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.storage import concatenate, load_frames, save_frames


def one_by_one(image, how, generator, *, flip):
    """One image, by torchvision's functions and one number at a time."""

    def draw(most):
        return (1 - most) + ((1 + most) - (1 - most)) * float(torch.rand((), generator=generator))

    changes = (tf.adjust_brightness, tf.adjust_contrast, tf.adjust_saturation)
    for most, change in zip((how.brightness, how.contrast, how.saturation), changes, strict=True):
        if most:
            image = change(image, draw(most))
    return image.flip(-1) if flip else image


@pytest.mark.parametrize("how", [MILD, Augmentation(contrast=0.4), Augmentation(flip=False), Augmentation()])
def test_a_batch_is_changed_as_its_images_one_by_one(how):
    """With torchvision's functions as the oracle, the same random numbers in the same order."""
    images = torch.rand(5, 3, 8, 10, generator=torch.Generator().manual_seed(1))
    one, other = (torch.Generator().manual_seed(2) for _ in range(2))
    flips = drawn_flips(5, how, one)
    assert flips == tuple(bool(how.flip and torch.rand((), generator=other) < 0.5) for _ in range(5))
    before = images.clone()
    found = augment(images, how, one, flips=flips)
    expected = torch.stack([one_by_one(i, how, other, flip=f) for i, f in zip(images, flips, strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(images, before)
    assert torch.equal(torch.rand(1, generator=one), torch.rand(1, generator=other))


def test_a_mirrored_object_lies_under_its_mirrored_box():
    image = torch.zeros(1, 3, 8, 10)
    image[..., 2:5, 1:4] = 1.0
    flipped = augment(image, Augmentation(), torch.Generator(), flips=(True,))[0]
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
