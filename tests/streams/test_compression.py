"""Frames without small objects are pooled, and what lies on them shrinks along."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.evolution.training import TrainingPlan, draws
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.compression import FACTOR, poolable, pooled_images
from nestevo_hw.streams.frame import Annotation, shrunk
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.faster_rcnn.targets import prepare
from nestevo_hw.tasks.supervision import LabelConfig


def annotation(*boxes):
    return Annotation.of(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4), torch.ones(len(boxes), dtype=torch.int64)
    )


def test_one_small_object_keeps_its_frame_whole():
    large, small = [0.0, 0.0, 20.0, 20.0], [30.0, 30.0, 36.0, 40.0]
    frames = [annotation(large), annotation(large, small), annotation()]
    assert poolable(frames, 12.0) == [True, False, True]
    assert poolable(frames, 6.0) == [True, True, True]


def test_pixels_are_means_of_four_and_boxes_half_as_large():
    image = torch.arange(24.0).view(1, 1, 4, 6).expand(1, 3, 4, 6)
    (pooled,) = pooled_images(image)
    assert pooled.shape == (3, 2, 3)
    assert pooled[0, 0].tolist() == [3.5, 5.5, 7.5]
    assert shrunk(annotation([2.0, 4.0, 10.0, 20.0]), 2).boxes.tolist() == [[1.0, 2.0, 5.0, 10.0]]


def test_doubtful_regions_keep_their_frame_whole_too():
    doubtful = Annotation(
        boxes=torch.tensor([[0.0, 0.0, 5.0, 5.0]]), labels=torch.tensor([1]), ignore=torch.tensor([True])
    )
    assert poolable([doubtful], 12.0) == [False]


@settings(deadline=None)
@given(marks=st.lists(st.booleans(), min_size=4, max_size=20), size=st.integers(1, 4), seed=st.integers(0, 99))
def test_batches_are_whole_or_pooled_and_no_frame_is_left_behind(marks, size, seed):
    """However few frames of one kind there are: the same frame is never seen twice more often than another."""
    images = torch.arange(len(marks), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 12)
    plan = TrainingPlan(steps=1, batch_size=size)
    batches = draws(
        images, plan, Augmentation(flip=False), torch.Generator().manual_seed(seed), torch.device("cpu"), pool=marks
    )
    seen = dict.fromkeys(range(len(marks)), 0)
    for draw in itertools.islice(batches, 6 * len(marks)):
        assert {marks[row] for row in draw.rows} == {draw.pooled}
        assert {image.shape for image in draw.images} == {(3, 4, 6) if draw.pooled else (3, 8, 12)}
        for row, image in zip(draw.rows, draw.images, strict=True):
            assert float(image.mean()) == pytest.approx(row / 255, abs=1e-6)
            seen[row] += 1
    # Up to a batch of each kind waits, from one pass or the next.
    assert max(seen.values()) - min(seen.values()) <= size + 1


def test_a_detector_computes_at_half_size_and_finds_its_boxes_there():
    task, model = Detection(), load_pretrained("fasterrcnn-tiny-m3")
    frames = SyntheticStream(name="a", place="park", seed=2).read([0, 40])
    floats = frames.images.float().div(255)
    whole, whole_targets = prepare(model, floats, frames.truth)
    small, smaller = pooled_images(floats), [shrunk(a, FACTOR) for a in frames.truth]
    with task.smaller_input([model], FACTOR):
        batch, targets = prepare(model, small, smaller)
    assert batch.image_sizes == [(height // 2, width // 2) for height, width in whole.image_sizes]
    # Padded to what the strides divide, so a little more than a quarter.
    assert batch.tensors.numel() < 0.35 * whole.tensors.numel()
    torch.testing.assert_close(targets.boxes, whole_targets.boxes / 2)
    # Without it, torchvision scales the frames up again, and nothing is saved.
    again, _ = prepare(model, small, smaller)
    assert again.tensors.shape == whole.tensors.shape


def test_the_input_size_comes_back_after_an_error():
    task, model = Detection(), load_pretrained("fasterrcnn-tiny-m3")
    sizes = (model.transform.min_size, model.transform.max_size)
    with pytest.raises(RuntimeError, match="stop"), task.smaller_input([model], FACTOR):
        raise RuntimeError("stop")
    assert (model.transform.min_size, model.transform.max_size) == sizes


def test_soft_targets_shrink_with_their_frame():
    """Box offsets are relative to their region, so they stay."""
    model = load_pretrained("fasterrcnn-tiny-m3")
    (one,) = Detection().label(model, SyntheticStream(name="a", place="park", seed=2).read([0]).images, LabelConfig())
    small = one.shrunk(FACTOR)
    torch.testing.assert_close(small.regions, one.regions / 2)
    torch.testing.assert_close(small.annotation.boxes, one.annotation.boxes / 2)
    decode = model.roi_heads.box_coder.decode
    at_half = decode(small.deltas, [small.regions])
    torch.testing.assert_close(at_half, decode(one.deltas, [one.regions]) / 2, rtol=1e-4, atol=1e-3)
