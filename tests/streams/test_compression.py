"""Frames without small objects are pooled, and what lies on them shrinks along."""

import pytest
import torch

from nestevo_hw.errors import ConfigError
from nestevo_hw.streams.compression import CompressionConfig, poolable, pooled_images
from nestevo_hw.streams.frame import Annotation, shrunk


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
    image = torch.arange(24.0).view(1, 4, 6).expand(3, 4, 6)
    (pooled,) = pooled_images([image])
    assert pooled.shape == (3, 2, 3)
    assert pooled[0, 0].tolist() == [3.5, 5.5, 7.5]
    assert shrunk(annotation([2.0, 4.0, 10.0, 20.0]), 2).boxes.tolist() == [[1.0, 2.0, 5.0, 10.0]]


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="small_px above 0"):
        CompressionConfig(small_px=0.0)
