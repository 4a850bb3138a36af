import math

import numpy as np
import pytest
import torch
from PIL import ImageColor

from nestevo_hw.base.errors import InputError
from nestevo_hw.pages.pictures import COLOURS, draw_detections

GREY = torch.full((3, 60, 80), 90, dtype=torch.uint8)
CLASSES = ("person", "car")


def draw(boxes, labels, scores=None, **options):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return draw_detections(
        GREY, boxes, torch.tensor(labels), None if scores is None else torch.tensor(scores), CLASSES, **options
    )


def coloured(picture, label):
    """(H, W) bool: pixels of a class's colour."""
    return (np.asarray(picture) == ImageColor.getrgb(COLOURS[label - 1])).all(-1)


def test_without_detections_the_frame_is_only_enlarged():
    picture = draw([], [])
    assert picture.size == (240, 180)
    assert (np.asarray(picture) == 90).all()


def test_the_box_lies_where_it_should():
    mask = coloured(draw([[20, 30, 50, 50]], [2], [0.9], scale=4), 2)
    assert mask[120, 80:200].all()
    assert mask[200, 80:200].all()
    assert mask[120:200, 80].all()
    assert mask[120:200, 200].all()
    assert not mask[130:190, 90:190].any()  # a thin outline, not a filled box
    assert not mask[:, :80].any()
    assert not mask[202:].any()


def test_the_label_lies_above_the_box_or_within_the_frame():
    above = coloured(draw([[20, 30, 50, 50]], [1], [0.9]), 1)
    assert above[:90].any()
    at_the_top = draw([[0, 0, 30, 20]], [1], [0.9])
    assert at_the_top.size == (240, 180)
    at_the_right = coloured(draw([[78, 30, 80, 50]], [1], [0.9]), 1)
    assert at_the_right[:, 150:200].any()  # the label moved left to be whole


def test_the_most_confident_lies_on_top():
    box = [20.0, 30.0, 50.0, 50.0]
    assert not coloured(draw([box, box], [1, 2], [0.6, 0.9]), 1)[90].any()
    assert not coloured(draw([box, box], [1, 2], [0.9, 0.6]), 2)[90].any()


def test_boxes_nobody_can_see_are_left_out():
    picture = draw([[math.nan, 0, 5, 5], [0, 0, math.inf, 5], [200, 0, 220, 9]], [1, 1, 2], [0.9, 0.8, 0.7])
    assert (np.asarray(picture) == 90).all()


def test_a_reversed_box_and_an_unknown_class_are_drawn():
    assert coloured(draw([[50, 50, 20, 30]], [1]), 1).any()
    assert coloured(draw([[20, 30, 50, 50]], [7]), 7).any()


@pytest.mark.parametrize(
    ("image", "boxes", "message"),
    [
        (GREY.float(), torch.zeros(1, 4), "expected an image"),
        (GREY[0], torch.zeros(1, 4), "expected an image"),
        (GREY, torch.zeros(2, 4), "expected 1 boxes"),
    ],
)
def test_wrong_shapes_are_named(image, boxes, message):
    with pytest.raises(InputError, match=message):
        draw_detections(image, boxes, torch.ones(1, dtype=torch.int64), None, CLASSES)
